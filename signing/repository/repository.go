package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// Files is where the repository rests.
type Files interface {
	// Get reads a file; the error matches fs.ErrNotExist when there is none.
	Get(ctx context.Context, path string) ([]byte, error)
	// Put writes a file, whole or not at all, and durably.
	Put(ctx context.Context, path string, content []byte) error
}

// Exclusive is Files that several processes may write to at once.
type Exclusive interface {
	// PutNew is Put for a file that must not be there yet; when it is, the error matches fs.ErrExist and nothing has changed.
	PutNew(ctx context.Context, path string, content []byte) error
}

// Keys are the signers that are here. Who signs a role is what the root says; a signer that no role asks for is not used.
// Root and Targets may be nil: then they are offline, and what would change them is an [OfflineError].
type Keys struct {
	Root, Targets, Snapshot, Timestamp keys.Signer
	Others                             []keys.Signer // such as the next ones of a role, while a root that names them is on its way
}

func (k Keys) all() []keys.Signer {
	return slices.DeleteFunc(append([]keys.Signer{k.Root, k.Targets, k.Snapshot, k.Timestamp}, k.Others...),
		func(s keys.Signer) bool { return s == nil })
}

// Lifetimes of what this package signs. Expired metadata stops installs on devices, never the devices.
const (
	rootLife      = 365 * 24 * time.Hour
	targetsLife   = 365 * 24 * time.Hour
	productLife   = 365 * 24 * time.Hour
	snapshotLife  = 14 * 24 * time.Hour
	timestampLife = 7 * 24 * time.Hour
)

// Options configure Create and Open.
type Options struct {
	Files      Files
	Keys       Keys
	PolicyKeys public.Rule      // who may sign policies; used by Create
	Now        func() time.Time // nil: time.Now
}

// Errors that callers tell apart.
var (
	ErrExists  = errors.New("already published with other bytes")
	ErrInvalid = errors.New("not acceptable for publishing")
)

// Repository signs and writes.
type Repository struct {
	files Files
	keys  Keys
	now   func() time.Time

	mu        sync.Mutex // one publication at a time
	root      *metadata.Metadata[metadata.RootType]
	targets   *metadata.Metadata[metadata.TargetsType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	claimed   int64 // the highest snapshot version that anybody has written
}

func newRepository(o Options) *Repository {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Repository{files: o.Files, keys: o.Keys, now: o.Now}
}

// Create begins a repository: a root of version 1, no products. It refuses a place where one has begun.
func Create(ctx context.Context, o Options) (*Repository, error) {
	r := newRepository(o)
	if _, err := r.files.Get(ctx, timestampPath); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return nil, fmt.Errorf("create repository: %w", err)
	}
	for role, s := range map[string]keys.Signer{
		metadata.ROOT: o.Keys.Root, metadata.TARGETS: o.Keys.Targets, metadata.SNAPSHOT: o.Keys.Snapshot, metadata.TIMESTAMP: o.Keys.Timestamp,
	} {
		if s == nil {
			return nil, fmt.Errorf("create repository: role %s: %w", role, ErrOffline)
		}
	}
	now := r.now()
	p := Plan{
		Root: public.Any(o.Keys.Root.Public()), Targets: public.Any(o.Keys.Targets.Public()),
		Snapshot: public.Any(o.Keys.Snapshot.Public()), Timestamp: public.Any(o.Keys.Timestamp.Public()),
	}
	r.root = metadata.Root(expiry(now, rootLife))
	if err := p.write(&r.root.Signed); err != nil {
		return nil, err
	}
	r.empty(now)
	rootBytes, err := sign(r.root, o.Keys.Root)
	if err != nil {
		return nil, err
	}
	if err := r.putNew(ctx, versioned(1, metadata.ROOT), rootBytes); err != nil {
		return nil, err
	}
	content, err := policyKeys(policy.Keys{Schema: 1, Policy: o.PolicyKeys})
	if err != nil {
		return nil, err
	}
	r.targets.Signed.Targets[policy.KeysTarget] = target(content)
	return r, r.publishTargets(ctx, map[string][]byte{policy.KeysTarget: content})
}

// empty begins below the root. What is published first has version 1.
func (r *Repository) empty(now time.Time) {
	r.targets = metadata.Targets(expiry(now, targetsLife))
	r.snapshot = metadata.Snapshot(expiry(now, snapshotLife))
	r.timestamp = metadata.Timestamp(expiry(now, timestampLife))
	r.targets.Signed.Version, r.snapshot.Signed.Version, r.timestamp.Signed.Version = 0, 0, 0
}

func policyKeys(k policy.Keys) ([]byte, error) {
	content, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	_, err = policy.ParseKeys(content)
	return content, err
}

// Open goes on with a repository that Create began; the error matches fs.ErrNotExist when there is none.
func Open(ctx context.Context, o Options) (*Repository, error) {
	r := newRepository(o)
	return r, r.load(ctx)
}

// Root returns the newest root.json, for devices that enrol.
func (r *Repository) Root(ctx context.Context) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files.Get(ctx, versioned(r.root.Signed.Version, metadata.ROOT))
}

// SnapshotVersion returns the version that devices should have reached.
func (r *Repository) SnapshotVersion() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snapshot.Signed.Version
}

// meta names a document by its bytes, so that a device may take it from anybody.
func meta(version int64, b []byte) *metadata.MetaFiles {
	sum := firmware.Sum(b)
	m := metadata.MetaFile(version)
	m.Length, m.Hashes = int64(len(b)), metadata.Hashes{"sha256": sum[:]}
	return m
}

func (r *Repository) loadNewestRoot(ctx context.Context) error {
	var newest *metadata.Metadata[metadata.RootType]
	for version := int64(1); ; version++ {
		err := load(ctx, r.files, versioned(version, metadata.ROOT), &newest)
		if errors.Is(err, fs.ErrNotExist) && newest != nil {
			r.root = newest
			return nil
		}
		if err != nil {
			return err // the root that is known stays
		}
	}
}

const timestampPath = "metadata/timestamp.json"

func versioned(version int64, role string) string {
	return fmt.Sprintf("metadata/%d.%s.json", version, role)
}

func expiry(now time.Time, life time.Duration) time.Time {
	return now.UTC().Add(life).Truncate(time.Second)
}

func target(content []byte) *metadata.TargetFiles {
	sum := firmware.Sum(content)
	return &metadata.TargetFiles{Length: int64(len(content)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

func load[T metadata.Roles](ctx context.Context, files Files, name string, into **metadata.Metadata[T]) error {
	b, err := files.Get(ctx, name)
	if err != nil {
		return err
	}
	md, err := new(metadata.Metadata[T]).FromBytes(b)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	*into = md
	return nil
}
