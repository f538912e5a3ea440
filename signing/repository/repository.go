package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
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

// Keys are the signers of the top-level roles. One signer may serve several roles only in a development trust.
type Keys struct {
	Root, Targets, Snapshot, Timestamp keys.Signer
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
	now := r.now()
	r.root = metadata.Root(expiry(now, rootLife))
	for role, s := range map[string]keys.Signer{
		metadata.ROOT: r.keys.Root, metadata.TARGETS: r.keys.Targets,
		metadata.SNAPSHOT: r.keys.Snapshot, metadata.TIMESTAMP: r.keys.Timestamp,
	} {
		k, _, err := keys.TUF(s.Public())
		if err != nil {
			return nil, err
		}
		if err := r.root.Signed.AddKey(k, role); err != nil {
			return nil, err
		}
	}
	r.targets = metadata.Targets(expiry(now, targetsLife))
	r.snapshot = metadata.Snapshot(expiry(now, snapshotLife))
	r.timestamp = metadata.Timestamp(expiry(now, timestampLife))
	r.snapshot.Signed.Version, r.timestamp.Signed.Version = 0, 0 // release makes them 1

	rootBytes, err := sign(r.root, r.keys.Root)
	if err != nil {
		return nil, err
	}
	if err := r.putNew(ctx, versioned(1, metadata.ROOT), rootBytes); err != nil {
		return nil, err
	}
	content, err := json.Marshal(policy.Keys{Schema: 1, Policy: o.PolicyKeys})
	if err != nil {
		return nil, err
	}
	if _, err := policy.ParseKeys(content); err != nil {
		return nil, err
	}
	r.targets.Signed.Targets[policy.KeysTarget] = target(content)
	if err := r.files.Put(ctx, firmware.TargetPath(policy.KeysTarget, firmware.Sum(content)), content); err != nil {
		return nil, err
	}
	r.targets.Signed.Version = 0
	return r, r.publishTargets(ctx)
}

// Open goes on with a repository that Create began; the error matches fs.ErrNotExist when there is none.
func Open(ctx context.Context, o Options) (*Repository, error) {
	r := newRepository(o)
	return r, r.load(ctx)
}

// load reads what is published now.
func (r *Repository) load(ctx context.Context) error {
	err := errors.Join(load(ctx, r.files, timestampPath, &r.timestamp), r.loadNewestRoot(ctx))
	if err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	version := r.timestamp.Signed.Meta[metadata.SNAPSHOT+".json"].Version
	if err := load(ctx, r.files, versioned(version, metadata.SNAPSHOT), &r.snapshot); err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	version = r.snapshot.Signed.Meta[metadata.TARGETS+".json"].Version
	if err := load(ctx, r.files, versioned(version, metadata.TARGETS), &r.targets); err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	return nil
}

// change runs one publication. When it fails, what memory holds is thrown away for what is published.
func (r *Repository) change(ctx context.Context, publish func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := publish()
	if err == nil {
		return nil
	}
	return errors.Join(err, r.load(context.WithoutCancel(ctx)))
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

// Refresh signs again what has used up half of its life: timestamp, snapshot and targets. Call it hourly.
func (r *Repository) Refresh(ctx context.Context) error {
	return r.change(ctx, func() error {
		now := r.now()
		switch {
		case r.targets.Signed.Expires.Sub(now) < targetsLife/2:
			return r.publishTargets(ctx)
		case r.snapshot.Signed.Expires.Sub(now) < snapshotLife/2:
			return r.publishSnapshot(ctx)
		case r.timestamp.Signed.Expires.Sub(now) < timestampLife/2:
			return r.publishTimestamp(ctx)
		}
		return nil
	})
}

// publishTargets signs the top-level targets as the next version and everything above it.
func (r *Repository) publishTargets(ctx context.Context) error {
	signed := &r.targets.Signed
	signed.Expires = expiry(r.now(), targetsLife)
	b, version, err := next(ctx, r.files, r.targets, metadata.TARGETS, &signed.Version, r.keys.Targets)
	if err != nil {
		return err
	}
	if err := r.putNew(ctx, versioned(version, metadata.TARGETS), b); err != nil {
		return err
	}
	r.snapshot.Signed.Meta[metadata.TARGETS+".json"] = meta(version, b)
	return r.publishSnapshot(ctx)
}

func (r *Repository) publishSnapshot(ctx context.Context) error {
	signed := &r.snapshot.Signed
	signed.Expires = expiry(r.now(), snapshotLife)
	b, version, err := next(ctx, r.files, r.snapshot, metadata.SNAPSHOT, &signed.Version, r.keys.Snapshot)
	if err != nil {
		return err
	}
	if err := r.putNew(ctx, versioned(version, metadata.SNAPSHOT), b); err != nil {
		return err
	}
	r.timestamp.Signed.Meta[metadata.SNAPSHOT+".json"] = meta(version, b)
	return r.publishTimestamp(ctx)
}

// meta names a document by its bytes, so that a device may take it from anybody.
func meta(version int64, b []byte) *metadata.MetaFiles {
	sum := firmware.Sum(b)
	m := metadata.MetaFile(version)
	m.Length, m.Hashes = int64(len(b)), metadata.Hashes{"sha256": sum[:]}
	return m
}

func (r *Repository) publishTimestamp(ctx context.Context) error {
	r.timestamp.Signed.Version++
	r.timestamp.Signed.Expires = expiry(r.now(), timestampLife)
	b, err := sign(r.timestamp, r.keys.Timestamp)
	if err != nil {
		return err
	}
	return r.files.Put(ctx, timestampPath, b)
}

// next signs md as the first version after its own that was never written: one may have been, before a crash.
func next[T metadata.Roles](
	ctx context.Context, files Files, md *metadata.Metadata[T], role string, version *int64, by keys.Signer,
) ([]byte, int64, error) {
	for {
		*version++
		_, err := files.Get(ctx, versioned(*version, role))
		if errors.Is(err, fs.ErrNotExist) {
			b, err := sign(md, by)
			return b, *version, err
		}
		if err != nil {
			return nil, 0, err
		}
	}
}

// putNew writes a file that is never written with other bytes.
func (r *Repository) putNew(ctx context.Context, name string, content []byte) error {
	old, err := r.files.Get(ctx, name)
	switch {
	case err == nil && string(old) == string(content):
		return nil
	case err == nil:
		return fmt.Errorf("%s: %w", name, ErrExists)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return r.files.Put(ctx, name, content)
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

// sign replaces the signatures of md by one over its canonical form and returns the document.
func sign[T metadata.Roles](md *metadata.Metadata[T], by keys.Signer) ([]byte, error) {
	_, id, err := keys.TUF(by.Public())
	if err != nil {
		return nil, err
	}
	payload, err := cjson.EncodeCanonical(md.Signed)
	if err != nil {
		return nil, err
	}
	sig, err := by.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", by.Public().ID(), err)
	}
	md.Signatures = []metadata.Signature{{KeyID: id, Signature: sig}}
	return md.ToBytes(true)
}
