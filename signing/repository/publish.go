package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
)

// errBehind says that another process has published since this one looked.
var errBehind = errors.New("somebody else publishes at the same time; try again")

// maxTries bounds how often a publication begins anew behind others.
const maxTries = 16

// change runs one publication, again when another process was first. When it fails, what memory holds is thrown away for
// what is published.
func (r *Repository) change(ctx context.Context, publish func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := publish()
		if err == nil && r.timestamp.Signed.Meta[metadata.SNAPSHOT+".json"].Version != r.snapshot.Signed.Version {
			err = r.publishTimestamp(ctx) // nothing to do, but what was done before is not announced
		}
		if err == nil {
			return nil
		}
		again := r.load(context.WithoutCancel(ctx))
		if !errors.Is(err, errBehind) || again != nil || try == maxTries {
			return errors.Join(err, again)
		}
	}
}

// catchUp reads what another process has published since.
func (r *Repository) catchUp(ctx context.Context) error {
	err := r.newest(ctx)
	if errors.Is(err, errBehind) {
		return r.load(ctx)
	}
	return err
}

// load reads what is published now. Snapshots are a log that nobody writes twice: one that the timestamp does not name yet
// counts as published when all that it names is there, and is passed over when its writer was cut short.
func (r *Repository) load(ctx context.Context) error {
	err := errors.Join(load(ctx, r.files, timestampPath, &r.timestamp), r.loadNewestRoot(ctx))
	if err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	version := r.timestamp.Signed.Meta[metadata.SNAPSHOT+".json"].Version
	if err := load(ctx, r.files, versioned(version, metadata.SNAPSHOT), &r.snapshot); err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	for r.claimed = version; ; r.claimed++ {
		var next *metadata.Metadata[metadata.SnapshotType]
		err := load(ctx, r.files, versioned(r.claimed+1, metadata.SNAPSHOT), &next)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return fmt.Errorf("open repository: %w", err)
		}
		whole, err := r.whole(ctx, next)
		if err != nil {
			return fmt.Errorf("open repository: %w", err)
		}
		if whole {
			r.snapshot = next
		}
	}
	version = r.snapshot.Signed.Meta[metadata.TARGETS+".json"].Version
	if err := load(ctx, r.files, versioned(version, metadata.TARGETS), &r.targets); err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	return nil
}

// whole reports whether all that a snapshot names beyond the one before it is there.
func (r *Repository) whole(ctx context.Context, next *metadata.Metadata[metadata.SnapshotType]) (bool, error) {
	for name, m := range next.Signed.Meta {
		if was, ok := r.snapshot.Signed.Meta[name]; ok && m.Version == was.Version {
			continue
		}
		b, err := r.files.Get(ctx, fmt.Sprintf("metadata/%d.%s", m.Version, name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if sum := firmware.Sum(b); m.Hashes["sha256"].String() != sum.String() {
			return false, nil
		}
	}
	return true, nil
}

// signers returns the signers that are here of a role, enough of them; the error matches ErrOffline.
func (r *Repository) signers(role string) ([]keys.Signer, error) {
	p, err := planOf(&r.root.Signed)
	if err != nil {
		return nil, err
	}
	rule := p.Rule(role)
	var out []keys.Signer
	for _, s := range r.keys.all() {
		known := slices.ContainsFunc(out, func(o keys.Signer) bool { return o.Public().ID() == s.Public().ID() })
		if holds(*rule, s.Public()) && !known {
			out = append(out, s)
		}
	}
	if len(out) < rule.Threshold {
		return out, fmt.Errorf("role %s: %d keys must sign and %d of them are here: %w", role, rule.Threshold, len(out), ErrOffline)
	}
	return out, nil
}

// Online reports why snapshots and timestamps cannot be signed here; the error matches ErrOffline.
func (r *Repository) Online() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, snapshot := r.signers(metadata.SNAPSHOT)
	_, timestamp := r.signers(metadata.TIMESTAMP)
	return errors.Join(snapshot, timestamp)
}

// Refresh signs again what has used up half of its life: timestamp, snapshot, and targets where their key is here. What an
// earlier publication left undone, or what a new root wants signed by others, it finishes. Call it hourly.
func (r *Repository) Refresh(ctx context.Context) error {
	return r.change(ctx, func() error {
		now := r.now()
		_, offline := r.signers(metadata.TARGETS)
		switch {
		case r.targets.Signed.Expires.Sub(now) < targetsLife/2 && offline == nil:
			return r.publishTargets(ctx, nil)
		case r.snapshot.Signed.Expires.Sub(now) < snapshotLife/2, r.orphaned():
			return r.publishSnapshot(ctx, "", 0, nil)
		case r.timestamp.Signed.Expires.Sub(now) < timestampLife/2,
			r.timestamp.Signed.Meta[metadata.SNAPSHOT+".json"].Version != r.snapshot.Signed.Version:
			return r.publishTimestamp(ctx)
		}
		return nil
	})
}

// orphaned reports whether the root has other keys for snapshot or timestamp than have signed them.
func (r *Repository) orphaned() bool {
	p, err := planOf(&r.root.Signed)
	return err == nil && (!fulfils(r.snapshot, p.Snapshot) || !fulfils(r.timestamp, p.Timestamp))
}

// Raise makes versions go on above everything that devices have seen, after the files were restored from a backup: floor is
// the highest snapshot version that one of them knows. It changes nothing where the repository is beyond that.
func (r *Repository) Raise(ctx context.Context, floor int64) error {
	return r.change(ctx, func() error {
		if r.snapshot.Signed.Version >= floor {
			return nil
		}
		r.claimed = max(r.claimed, floor)
		r.timestamp.Signed.Version += timestampJump // nobody says how many timestamps there were
		return r.publishSnapshot(ctx, "", 0, nil)
	})
}

// timestampJump is more timestamps than are signed between two backups.
const timestampJump = 1 << 20

// publishTargets signs the top-level targets as the next version and everything above it. Where their keys are not here,
// the error carries the draft, with new files.
func (r *Repository) publishTargets(ctx context.Context, files map[string][]byte) error {
	signed := &r.targets.Signed
	signed.Expires = expiry(r.now(), targetsLife)
	var err error
	if signed.Version, err = r.unwritten(ctx, metadata.TARGETS, signed.Version+1); err != nil {
		return err
	}
	by, err := r.signers(metadata.TARGETS)
	if errors.Is(err, ErrOffline) {
		return r.offline(ctx, files, by)
	}
	if err != nil {
		return err
	}
	if err := r.putTargets(ctx, files); err != nil {
		return err
	}
	b, err := sign(r.targets, by...)
	if err != nil {
		return err
	}
	return r.publishSnapshot(ctx, metadata.TARGETS, signed.Version, b)
}

// putTargets writes targets under their digests.
func (r *Repository) putTargets(ctx context.Context, files map[string][]byte) error {
	for name, content := range files {
		if err := r.files.Put(ctx, firmware.TargetPath(name, firmware.Sum(content)), content); err != nil {
			return err
		}
	}
	return nil
}

// publishSnapshot publishes the next version of a role; with an empty name no role changes. The order keeps what others
// publish at the same time: the snapshot claims the next version, which succeeds for one process; then the role that it
// names; then the timestamp, unless somebody has claimed a later version.
func (r *Repository) publishSnapshot(ctx context.Context, role string, version int64, content []byte) error {
	by, err := r.signers(metadata.SNAPSHOT)
	if err != nil {
		return err
	}
	if role != "" {
		r.snapshot.Signed.Meta[role+".json"] = meta(version, content)
	}
	signed := &r.snapshot.Signed
	signed.Version, signed.Expires = max(r.claimed, signed.Version)+1, expiry(r.now(), snapshotLife)
	b, err := sign(r.snapshot, by...)
	if err != nil {
		return err
	}
	if err := r.putNew(ctx, versioned(signed.Version, metadata.SNAPSHOT), b); err != nil {
		return behind(err)
	}
	r.claimed = signed.Version
	if role != "" {
		if err := r.putRole(ctx, versioned(version, role), content); err != nil {
			return err
		}
	}
	return r.publishTimestamp(ctx)
}

// putRole writes what the snapshot that was just claimed names. Bytes that lie there under the same version are of a
// publication that no timestamp will name: it was cut short, or this process has overtaken it.
func (r *Repository) putRole(ctx context.Context, name string, content []byte) error {
	err := r.putNew(ctx, name, content)
	if !errors.Is(err, ErrExists) {
		return err
	}
	if err := r.newest(ctx); err != nil {
		return err
	}
	return r.files.Put(ctx, name, content)
}

// newest reports errBehind when another process has claimed a later snapshot.
func (r *Repository) newest(ctx context.Context) error {
	_, err := r.files.Get(ctx, versioned(r.claimed+1, metadata.SNAPSHOT))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return errBehind
}

// publishTimestamp claims the next version under a name of its own, so that no two timestamps have the same one, and puts
// it where devices look.
func (r *Repository) publishTimestamp(ctx context.Context) error {
	by, err := r.signers(metadata.TIMESTAMP)
	if err != nil {
		return err
	}
	b, err := r.files.Get(ctx, versioned(r.snapshot.Signed.Version, metadata.SNAPSHOT))
	if err != nil {
		return err
	}
	signed := &r.timestamp.Signed
	signed.Meta[metadata.SNAPSHOT+".json"] = meta(r.snapshot.Signed.Version, b)
	signed.Expires = expiry(r.now(), timestampLife)
	if signed.Version, err = r.unwritten(ctx, metadata.TIMESTAMP, signed.Version+1); err != nil {
		return err
	}
	if b, err = sign(r.timestamp, by...); err != nil {
		return err
	}
	if err := r.putNew(ctx, versioned(signed.Version, metadata.TIMESTAMP), b); err != nil {
		return behind(err)
	}
	if err := r.newest(ctx); err != nil {
		return err
	}
	return r.files.Put(ctx, timestampPath, b)
}

// unwritten returns the first version of a role from one on that nobody has written.
func (r *Repository) unwritten(ctx context.Context, role string, version int64) (int64, error) {
	for ; ; version++ {
		_, err := r.files.Get(ctx, versioned(version, role))
		if errors.Is(err, fs.ErrNotExist) {
			return version, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// behind makes of a version that is taken that another process was first.
func behind(err error) error {
	if errors.Is(err, ErrExists) {
		return fmt.Errorf("%w: %w", errBehind, err)
	}
	return err
}

// putNew writes a file that is never written with other bytes.
func (r *Repository) putNew(ctx context.Context, name string, content []byte) error {
	if x, ok := r.files.(Exclusive); ok {
		err := x.PutNew(ctx, name, content)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
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
