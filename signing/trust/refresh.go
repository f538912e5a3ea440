package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/waxwing-ota/waxwing/signing/policy"
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
		return nil
	})
}

func (t *Trust) refreshRoots(ctx context.Context) error {
	tm, err := t.rules(t.remembered())
	if err != nil {
		return err
	}
	for range maxRotations {
		version := tm.Root.Signed.Version + 1
		b, err := t.o.Fetch.Fetch(ctx, fmt.Sprintf("metadata/%d.root.json", version), maxRoot)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := guard(b, func() error { _, err := tm.UpdateRoot(b); return err }); err != nil {
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
		_, err := t.loaded(old) // nothing newer; what we have must not have expired
		return nil, err
	}
	_ = guard(old.Snapshot, func() error { _, err := tm.UpdateSnapshot(old.Snapshot, true); return err })
	meta := tm.Timestamp.Signed.Meta["snapshot.json"]
	if tm.Snapshot == nil || meta == nil || tm.Snapshot.Signed.Version != meta.Version {
		if next.Snapshot, err = t.fetchRole(ctx, "snapshot", meta, maxSnapshot); err != nil {
			return nil, err
		}
		if err := guard(next.Snapshot, func() error { _, err := tm.UpdateSnapshot(next.Snapshot, false); return err }); err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
	}
	if guard(old.Targets, func() error { _, err := tm.UpdateTargets(old.Targets); return err }) != nil {
		if next.Targets, err = t.fetchRole(ctx, "targets", tm.Snapshot.Signed.Meta["targets.json"], maxTargets); err != nil {
			return nil, err
		}
		if err := guard(next.Targets, func() error { _, err := tm.UpdateTargets(next.Targets); return err }); err != nil {
			return nil, fmt.Errorf("targets: %w", err)
		}
	}
	next.PolicyKeys, err = t.policyKeys(ctx, tm, old.PolicyKeys)
	return &next, err
}

// fetchTimestamp puts the remembered and then the published timestamp before the rules and returns the newer one.
func (t *Trust) fetchTimestamp(ctx context.Context, tm *trustedmetadata.TrustedMetadata, old []byte) ([]byte, error) {
	_ = guard(old, func() error { _, err := tm.UpdateTimestamp(old); return err })
	b, err := t.o.Fetch.Fetch(ctx, "metadata/timestamp.json", maxTimestamp)
	if err != nil {
		return nil, err
	}
	err = guard(b, func() error { _, err := tm.UpdateTimestamp(b); return err })
	var equal *metadata.ErrEqualVersionNumber
	switch {
	case errors.As(err, &equal) && bytes.Equal(b, old):
		return old, nil
	case errors.As(err, &equal):
		return nil, fmt.Errorf("timestamp %d: %w", tm.Timestamp.Signed.Version, ErrEquivocation)
	case err != nil:
		return nil, fmt.Errorf("timestamp: %w", err)
	}
	return b, nil
}

func (t *Trust) remembered() record {
	t.mu.Lock()
	defer t.mu.Unlock()
	return *t.rec
}

// rules returns go-tuf's rules with the newest root of a record and this device's time.
func (t *Trust) rules(rec record) (*trustedmetadata.TrustedMetadata, error) {
	tm, err := start(rec.Roots[len(rec.Roots)-1])
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	tm.RefTime = t.now()
	t.mu.Unlock()
	return tm, nil
}

// loaded returns the rules with everything that is remembered in them: what Manifest looks targets up in.
func (t *Trust) loaded(rec record) (*trustedmetadata.TrustedMetadata, error) {
	tm, err := t.rules(rec)
	if err != nil {
		return nil, err
	}
	for _, step := range []struct {
		name  string
		bytes []byte
		load  func([]byte) error
	}{
		{"timestamp", rec.Timestamp, func(b []byte) error { _, err := tm.UpdateTimestamp(b); return err }},
		{"snapshot", rec.Snapshot, func(b []byte) error { _, err := tm.UpdateSnapshot(b, true); return err }},
		{"targets", rec.Targets, func(b []byte) error { _, err := tm.UpdateTargets(b); return err }},
	} {
		if err := guard(step.bytes, func() error { return step.load(step.bytes) }); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return tm, nil
}

func (t *Trust) fetchRole(ctx context.Context, role string, meta *metadata.MetaFiles, limit int64) ([]byte, error) {
	if meta == nil {
		return nil, fmt.Errorf("no %s is named: %w", role, ErrUntrusted)
	}
	if meta.Length > 0 && meta.Length < limit {
		limit = meta.Length
	}
	return t.o.Fetch.Fetch(ctx, fmt.Sprintf("metadata/%d.%s.json", meta.Version, role), limit)
}

func (t *Trust) policyKeys(ctx context.Context, tm *trustedmetadata.TrustedMetadata, old []byte) ([]byte, error) {
	listed, ok := tm.Targets[metadata.TARGETS].Signed.Targets[policy.KeysTarget]
	if !ok {
		return nil, nil // a repository of releases only: no policy will be accepted
	}
	b := old
	if listed.VerifyLengthHashes(old) != nil {
		sum, err := digest(listed)
		if err != nil {
			return nil, err
		}
		if b, err = t.object(ctx, policy.KeysTarget, sum, min(listed.Length, maxTargets)); err != nil {
			return nil, err
		}
	}
	if _, err := policy.ParseKeys(b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return b, nil
}

// chain returns the stored roots when they follow from the given one, or as many of them as do. A given root newer than
// all of them, out of a new image, is appended when the newest stored one leads to it.
func chain(given []byte, stored [][]byte) ([][]byte, error) {
	tm, err := start(given)
	if err != nil {
		return nil, fmt.Errorf("root.json of this device: %w", err)
	}
	version := tm.Root.Signed.Version
	roots := [][]byte{given}
	for _, b := range stored {
		if versionOf(b) <= version {
			continue // what an image with a newer root has overtaken
		}
		if guard(b, func() error { _, err := tm.UpdateRoot(b); return err }) != nil {
			break
		}
		roots = append(roots, b)
	}
	return roots, nil
}

// versionOf returns the version of a root that verifies by itself; 0 for any other document.
func versionOf(root []byte) int64 {
	tm, err := start(root)
	if err != nil {
		return 0
	}
	return tm.Root.Signed.Version
}
