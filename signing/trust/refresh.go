package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

// Limits of what is fetched, in bytes, and of one walk along the root chain.
const (
	maxRoot      = 512_000
	maxTimestamp = 16_384
	maxSnapshot  = 2_000_000
	maxTargets   = 5_000_000
	maxRotations = 256
)

// Refresh runs the client workflow of TUF (specification 1.0, section 5.3) up to the top-level targets and the policy
// keys. Each root is stored as soon as it is verified, the rest together at the end.
func (t *Trust) Refresh(ctx context.Context) error {
	t.net.Lock()
	defer t.net.Unlock()
	if err := t.refreshRoots(ctx); err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	next, err := t.refreshOnline(ctx)
	if err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	if next == nil {
		return nil
	}
	return t.update(func(r *record) error {
		r.Timestamp, r.Snapshot, r.Targets, r.PolicyKeys = next.Timestamp, next.Snapshot, next.Targets, next.PolicyKeys
		r.Alive = next.Alive
		hearAgain(r)
		return nil
	})
}

func (t *Trust) refreshRoots(ctx context.Context) error {
	tm, err := t.rules(t.remembered())
	if err != nil {
		return err
	}
	for range maxRotations {
		version := tm.Root.Version + 1
		b, err := t.fetch(ctx, fmt.Sprintf("metadata/%d.root.json", version), maxRoot)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := tm.UpdateRoot(b); err != nil {
			return fmt.Errorf("root %d: %w", version, err)
		}
		if err := t.update(func(r *record) error { r.Roots = append(r.Roots, b); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// refreshOnline fetches what is newer of timestamp, snapshot, targets and policy keys; nil when nothing is. What is
// remembered goes in first, for the rules to compare with. Where it no longer verifies, because a root has replaced its
// key, it is passed over: that is how TUF recovers from a stolen key that signed the highest possible version.
func (t *Trust) refreshOnline(ctx context.Context) (*record, error) {
	old := t.remembered()
	tm, err := t.rules(old)
	if err != nil {
		return nil, err
	}
	next := record{Snapshot: old.Snapshot, Targets: old.Targets}
	if next.Timestamp, err = t.fetchTimestamp(ctx, tm, old.Timestamp); err != nil {
		return nil, err
	}
	if bytes.Equal(next.Timestamp, old.Timestamp) && old.Targets != nil {
		tm, err := t.loaded(old) // nothing newer; what we have must not have expired
		if err != nil || tm.Alive().Equal(old.Alive) {
			return nil, err
		}
		old.Alive = tm.Alive()
		return &old, nil
	}
	if err := tm.UpdateSnapshot(old.Snapshot, true); err == nil {
		if err := tm.Timestamp.Meta["snapshot.json"].Verify(old.Snapshot); err != nil {
			return nil, fmt.Errorf("snapshot %d: %w: %w", tm.Snapshot.Version, ErrEquivocation, err)
		}
	} else {
		if next.Snapshot, err = t.fetchRole(ctx, "snapshot", tm.Timestamp.Meta["snapshot.json"], maxSnapshot); err != nil {
			return nil, err
		}
		if err := tm.UpdateSnapshot(next.Snapshot, false); err != nil {
			return nil, err
		}
	}
	if tm.UpdateTargets(old.Targets) != nil {
		if tm.Twin(old.Targets, "targets") {
			return nil, fmt.Errorf("targets: %w", ErrEquivocation)
		}
		if next.Targets, err = t.fetchRole(ctx, "targets", tm.Snapshot.Meta["targets.json"], maxTargets); err != nil {
			return nil, err
		}
		if err := tm.UpdateTargets(next.Targets); err != nil {
			return nil, err
		}
	}
	next.Alive = tm.Alive()
	next.PolicyKeys, err = t.policyKeys(ctx, tm, old.PolicyKeys)
	return &next, err
}

// fetchTimestamp puts the remembered and then the published timestamp before the rules and returns the newer one.
func (t *Trust) fetchTimestamp(ctx context.Context, tm *tuf.Rules, old []byte) ([]byte, error) {
	_ = tm.UpdateTimestamp(old) // none, an expired one, or one whose key was replaced
	b, err := t.fetch(ctx, "metadata/timestamp.json", maxTimestamp)
	if err != nil {
		return nil, err
	}
	err = tm.UpdateTimestamp(b)
	switch {
	case errors.Is(err, tuf.ErrEqual) && bytes.Equal(b, old):
		return old, nil
	case errors.Is(err, tuf.ErrEqual):
		return nil, fmt.Errorf("timestamp %d: %w", tm.Timestamp.Version, ErrEquivocation)
	}
	return b, err
}

func (t *Trust) remembered() record {
	t.mu.Lock()
	defer t.mu.Unlock()
	return *t.rec
}

// rules returns the rules with the newest root of a record and this device's time.
func (t *Trust) rules(rec record) (*tuf.Rules, error) {
	t.mu.Lock()
	now := t.now()
	t.mu.Unlock()
	return tuf.Start(rec.Roots[len(rec.Roots)-1], now)
}

// loaded returns the rules with everything that is remembered in them: what Manifest looks targets up in.
func (t *Trust) loaded(rec record) (*tuf.Rules, error) {
	tm, err := t.rules(rec)
	if err != nil {
		return nil, err
	}
	if err := tm.UpdateTimestamp(rec.Timestamp); err != nil {
		return nil, err
	}
	if err := tm.UpdateSnapshot(rec.Snapshot, true); err != nil {
		return nil, err
	}
	return tm, tm.UpdateTargets(rec.Targets)
}

// fetch reads a file of the repository, and does not rely on the Fetcher for the limit.
func (t *Trust) fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	b, err := t.o.Fetch.Fetch(ctx, path, limit)
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: %d bytes, over %d: %w", path, len(b), limit, firmware.ErrTooLarge)
	}
	return b, err
}

// fetchRole fetches what a verified document names. Only where that gives a digest may others have it instead.
func (t *Trust) fetchRole(ctx context.Context, role string, meta tuf.Meta, limit int64) ([]byte, error) {
	if meta.Length > 0 && meta.Length < limit {
		limit = meta.Length
	}
	path := fmt.Sprintf("metadata/%d.%s.json", meta.Version, role)
	sum, ok := meta.Hashes.SHA256()
	if !ok {
		return t.fetch(ctx, path, limit)
	}
	if t.o.Near != nil {
		if b, err := t.o.Near(ctx, sum, limit); err == nil && firmware.Sum(b) == sum {
			t.offer(sum, b)
			return b, nil
		}
	}
	b, err := t.fetch(ctx, path, limit)
	if err == nil && firmware.Sum(b) == sum {
		t.offer(sum, b)
	}
	return b, err
}

func (t *Trust) policyKeys(ctx context.Context, tm *tuf.Rules, old []byte) ([]byte, error) {
	listed, ok := tm.Targets.Targets[policy.KeysTarget]
	if !ok {
		return nil, nil // a repository of releases only: no policy will be accepted
	}
	sum, err := digest(listed)
	if err != nil {
		return nil, err
	}
	b := old
	if firmware.Sum(old) != sum {
		if b, err = t.object(ctx, policy.KeysTarget, sum, min(listed.Length, maxTargets)); err != nil {
			return nil, err
		}
	}
	if _, err := policy.ParseKeys(b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return b, nil
}

// chain returns the given root, which came with the device or in a newer image, and the stored ones that follow from it,
// each from the one before.
func chain(given []byte, stored [][]byte) ([][]byte, error) {
	tm, err := tuf.Start(given, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("root.json of this device: %w", err)
	}
	overtaken := tm.Root.Version // by an image with a newer root
	roots := [][]byte{given}
	for _, b := range stored {
		if versionOf(b) > overtaken && tm.UpdateRoot(b) == nil {
			roots = append(roots, b)
		}
	}
	return roots, nil
}

// versionOf returns the version of a root that verifies by itself; 0 for any other document.
func versionOf(root []byte) int64 {
	tm, err := tuf.Start(root, time.Time{})
	if err != nil {
		return 0
	}
	return tm.Root.Version
}

// digest returns the SHA-256 that a target is listed with.
func digest(t tuf.Target) (firmware.Digest, error) {
	sum, ok := t.Hashes.SHA256()
	if !ok {
		return sum, fmt.Errorf("%w: a target without exactly one sha256", ErrUntrusted)
	}
	return sum, nil
}
