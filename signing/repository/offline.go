package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

// Plan returns who signs each top-level role now.
func (r *Repository) Plan() (Plan, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return planOf(&r.root.Signed)
}

// offline returns the error that carries the next targets, signed by those that are here.
func (r *Repository) offline(ctx context.Context, files map[string][]byte, by []keys.Signer) error {
	d, err := r.draftTargets(ctx, r.root, files, by)
	if err != nil {
		return err
	}
	return &OfflineError{Drafts: []*Draft{d}}
}

// draftTargets drafts the targets that memory holds, to be judged by a root.
func (r *Repository) draftTargets(
	ctx context.Context, root *metadata.Metadata[metadata.RootType], files map[string][]byte, by []keys.Signer,
) (*Draft, error) {
	document, err := sign(r.targets, by...)
	if err != nil {
		return nil, err
	}
	d := &Draft{Schema: 1, Role: metadata.TARGETS, Document: document, Files: files}
	if d.Root, err = root.ToBytes(true); err != nil {
		return nil, err
	}
	d.Before, err = r.files.Get(ctx, versioned(r.snapshot.Signed.Meta[metadata.TARGETS+".json"].Version, metadata.TARGETS))
	return d, err
}

// SetPolicyKeys says who may sign policies from now on: a key that is left out is revoked on every device that refreshes.
// Where targets are signed offline it is an [OfflineError].
func (r *Repository) SetPolicyKeys(ctx context.Context, k policy.Keys) error {
	content, err := policyKeys(k)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return r.change(ctx, func() error {
		r.targets.Signed.Targets[policy.KeysTarget] = target(content)
		return r.publishTargets(ctx, map[string][]byte{policy.KeysTarget: content})
	})
}

// Renew signs the offline roles anew, as they are, before they expire. What of them must be signed elsewhere is carried by an
// [OfflineError].
func (r *Repository) Renew(ctx context.Context) error {
	p, err := r.Plan()
	if err != nil {
		return err
	}
	return r.changeRoot(ctx, p, true)
}

// ChangeRoot says who signs the top-level roles from now on. The next root must be signed as the present one asks, and as it
// asks itself; targets are signed anew when others sign them now. What is not signed by keys that are here is carried by
// an [OfflineError]: sign it elsewhere and Import all of it together.
func (r *Repository) ChangeRoot(ctx context.Context, p Plan) error {
	return r.changeRoot(ctx, p, false)
}

func (r *Repository) changeRoot(ctx context.Context, p Plan, renew bool) error {
	if err := p.Check(); err != nil {
		return err
	}
	return r.change(ctx, func() error {
		drafts, err := r.draftRoot(ctx, p, renew)
		if err != nil {
			return err
		}
		for _, d := range drafts {
			s, err := d.State()
			if err != nil {
				return err
			}
			if !s.Complete() {
				return &OfflineError{Drafts: drafts}
			}
		}
		return r.adopt(ctx, drafts)
	})
}

// RenewRoot signs the root anew, as it is, when half of its life is over and its keys are here, as in a development trust.
func (r *Repository) RenewRoot(ctx context.Context) error {
	return r.change(ctx, func() error {
		if r.root.Signed.Expires.Sub(r.now()) >= rootLife/2 {
			return nil
		}
		switch _, err := r.signers(metadata.ROOT); {
		case errors.Is(err, ErrOffline):
			return nil
		case err != nil:
			return err
		}
		p, err := planOf(&r.root.Signed)
		if err != nil {
			return err
		}
		drafts, err := r.draftRoot(ctx, p, false)
		if err != nil {
			return err
		}
		return r.adopt(ctx, drafts)
	})
}

func (r *Repository) draftRoot(ctx context.Context, p Plan, renew bool) ([]*Draft, error) {
	before, err := r.files.Get(ctx, versioned(r.root.Signed.Version, metadata.ROOT))
	if err != nil {
		return nil, err
	}
	next := metadata.Root(expiry(r.now(), rootLife))
	next.Signed.Version = r.root.Signed.Version + 1
	if err := p.write(&next.Signed); err != nil {
		return nil, err
	}
	document, err := next.ToBytes(true)
	if err != nil {
		return nil, err
	}
	drafts := []*Draft{{Schema: 1, Role: metadata.ROOT, Document: document, Before: before}}
	if renew || !fulfils(r.targets, p.Targets) {
		r.targets.Signed.Expires = expiry(r.now(), targetsLife)
		if r.targets.Signed.Version, err = r.unwritten(ctx, metadata.TARGETS, r.targets.Signed.Version+1); err != nil {
			return nil, err
		}
		d, err := r.draftTargets(ctx, next, nil, nil)
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	for _, d := range drafts {
		for _, s := range r.keys.all() {
			if err := d.Sign(s); err != nil && !errors.Is(err, ErrInvalid) {
				return nil, err
			}
		}
	}
	return drafts, nil
}

// Import takes documents that were signed offline, after it has checked them as a device would, and publishes what hangs on
// them: a root first, then targets, a snapshot and a timestamp, signed by the keys that the root names. Importing the same
// again goes on where an import was cut short. Errors match ErrInvalid (not signed by enough, or it does not follow) and
// ErrOffline (the new root names online keys that are not here).
func (r *Repository) Import(ctx context.Context, drafts ...*Draft) error {
	return r.change(ctx, func() error { return r.adopt(ctx, drafts) })
}

// CreateFrom begins a repository with a root and targets that were signed offline ([Begin]). Options.Keys holds the signers
// of snapshot and timestamp.
func CreateFrom(ctx context.Context, o Options, drafts ...*Draft) (*Repository, error) {
	r := newRepository(o)
	if _, err := r.files.Get(ctx, timestampPath); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return nil, fmt.Errorf("create repository: %w", err)
	}
	r.empty(r.now())
	if err := r.adopt(ctx, drafts); err != nil {
		return nil, err
	}
	return r, nil
}

// adopt checks drafts and publishes them.
func (r *Repository) adopt(ctx context.Context, drafts []*Draft) error {
	root, targets, err := sorted(drafts)
	if err != nil {
		return err
	}
	was := r.root
	if root != nil {
		if err := r.follow(root); err != nil {
			return err
		}
	}
	if r.root == nil {
		return fmt.Errorf("%w: a repository begins with a root", ErrInvalid)
	}
	plan, err := planOf(&r.root.Signed)
	if err != nil {
		return err
	}
	next := r.targets
	if targets != nil {
		if next, err = targetsFrom(targets.Document); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	switch {
	case !fulfils(next, plan.Targets):
		return fmt.Errorf("%w: targets %d are not signed by enough of those whom root %d names; import both together",
			ErrInvalid, next.Signed.Version, r.root.Signed.Version)
	case next.Signed.IsExpired(r.now()) || r.root.Signed.IsExpired(r.now()):
		return fmt.Errorf("%w: it has expired; draft it again", ErrInvalid)
	}
	for _, online := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if _, err := r.signers(online); err != nil {
			return err
		}
	}
	if root != nil && (was == nil || was.Signed.Version != r.root.Signed.Version) {
		document, err := r.root.ToBytes(true)
		if err != nil {
			return err
		}
		if err := r.putNew(ctx, versioned(r.root.Signed.Version, metadata.ROOT), document); err != nil {
			return behind(err)
		}
	}
	if targets != nil && !same(next, r.targets) {
		return r.adoptTargets(ctx, targets, next)
	}
	if r.orphaned() {
		return r.publishSnapshot(ctx, "", 0, nil)
	}
	return nil
}

func sorted(drafts []*Draft) (root, targets *Draft, err error) {
	for _, d := range drafts {
		s, err := d.State()
		if err != nil {
			return nil, nil, err
		}
		at := &targets
		if d.Role == metadata.ROOT {
			at = &root
		}
		switch {
		case *at != nil:
			return nil, nil, fmt.Errorf("%w: two drafts of %s; combine them first", ErrInvalid, d.Role)
		case !s.Complete():
			return nil, nil, fmt.Errorf("%w: %s %d lacks signatures; `waxwing keys check` says whose", ErrInvalid, d.Role, s.Version)
		}
		*at = d
	}
	return root, targets, nil
}

// follow takes a root as a device does: one version up, signed as the last one and it itself ask.
func (r *Repository) follow(d *Draft) error {
	md, _, err := rootAndPlan(d.Document)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if r.root == nil {
		if _, err := tuf.Start(d.Document, r.now()); err != nil || md.Signed.Version != 1 {
			return fmt.Errorf("root %d as the first: %w: %w", md.Signed.Version, ErrInvalid, err)
		}
		r.root = md
		return nil
	}
	if md.Signed.Version == r.root.Signed.Version {
		if same(md, r.root) {
			return nil
		}
		return fmt.Errorf("root %d: %w", md.Signed.Version, ErrExists)
	}
	old, err := r.root.ToBytes(true)
	if err != nil {
		return err
	}
	rules, err := tuf.Start(old, r.now())
	if err != nil {
		return err
	}
	if err := rules.UpdateRoot(d.Document); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	r.root = md
	return nil
}

// same reports whether two documents say the same and carry the same signatures.
func same[T metadata.Roles](a, b *metadata.Metadata[T]) bool {
	x, err := a.ToBytes(true)
	y, other := b.ToBytes(true)
	return err == nil && other == nil && bytes.Equal(x, y)
}

func (r *Repository) adoptTargets(ctx context.Context, d *Draft, next *metadata.Metadata[metadata.TargetsType]) error {
	if next.Signed.Version <= r.targets.Signed.Version {
		return fmt.Errorf("targets %d after %d: %w; draft the change again", next.Signed.Version, r.targets.Signed.Version, ErrInvalid)
	}
	if d.Before != nil {
		before, err := targetsFrom(d.Before)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if before.Signed.Version != r.targets.Signed.Version {
			return fmt.Errorf("targets %d were drafted from %d, and %d are published: %w; draft the change again",
				next.Signed.Version, before.Signed.Version, r.targets.Signed.Version, ErrInvalid)
		}
	}
	if err := r.putTargets(ctx, d.Files); err != nil {
		return err
	}
	for name, t := range next.Signed.Targets {
		sum, err := firmware.ParseDigest(t.Hashes["sha256"].String())
		if err != nil || len(t.Hashes) != 1 {
			return fmt.Errorf("%w: target %s without one sha256", ErrInvalid, name)
		}
		if _, err := r.files.Get(ctx, firmware.TargetPath(name, sum)); err != nil {
			return fmt.Errorf("target %s is not here: %w", name, err)
		}
	}
	document, err := next.ToBytes(true)
	if err != nil {
		return err
	}
	r.targets = next
	return r.publishSnapshot(ctx, metadata.TARGETS, next.Signed.Version, document)
}
