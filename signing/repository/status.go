package repository

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// Standing is who signs one role, and when that is due.
type Standing struct {
	Role    string      `json:"role"` // root, targets, snapshot, timestamp; "product NAME"; policies, grants
	Rule    public.Rule `json:"rule"`
	Version int64       `json:"version,omitempty"` // 0: nothing was signed yet
	Expires time.Time   `json:"expires,omitzero"`
	// Due is when it should be signed again: half of its life before it expires where a server does it, and sooner than the
	// last quarter where holders must meet. Zero: never.
	Due    time.Time `json:"due,omitzero"`
	Online bool      `json:"online"` // a server renews it by itself
}

// Status returns the roles, what is due next first. It needs no key.
func (r *Repository) Status(ctx context.Context) ([]Standing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := planOf(&r.root.Signed)
	if err != nil {
		return nil, err
	}
	out := []Standing{
		standing(metadata.ROOT, p.Root, r.root.Signed.Version, r.root.Signed.Expires, rootLife/4),
		standing(metadata.TARGETS, p.Targets, r.targets.Signed.Version, r.targets.Signed.Expires, targetsLife/4),
		standing(metadata.SNAPSHOT, p.Snapshot, r.snapshot.Signed.Version, r.snapshot.Signed.Expires, snapshotLife/2),
		standing(metadata.TIMESTAMP, p.Timestamp, r.timestamp.Signed.Version, r.timestamp.Signed.Expires, timestampLife/2),
	}
	out[2].Online, out[3].Online = true, true
	lines, err := products(&r.targets.Signed)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		s := Standing{Role: "product " + name, Rule: lines[name]}
		b, err := r.role(ctx, name)
		if err != nil {
			return nil, err
		}
		if b != nil {
			md, err := targetsFrom(b)
			if err != nil {
				return nil, err
			}
			s = standing(s.Role, s.Rule, md.Signed.Version, md.Signed.Expires, productLife/4)
		}
		out = append(out, s)
	}
	k, err := r.policyKeys(ctx)
	if err != nil {
		return nil, err
	}
	if k != nil {
		out = append(out, Standing{Role: "policies", Rule: k.Policy, Online: true})
		if k.Grants != nil {
			out = append(out, Standing{Role: "grants", Rule: *k.Grants})
		}
	}
	slices.SortStableFunc(out, func(a, b Standing) int {
		if a.Due.IsZero() != b.Due.IsZero() {
			if a.Due.IsZero() {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.Due.Unix(), b.Due.Unix())
	})
	return out, nil
}

func standing(name string, rule public.Rule, version int64, expires time.Time, before time.Duration) Standing {
	return Standing{Role: name, Rule: rule, Version: version, Expires: expires, Due: expires.Add(-before)}
}

// PolicyKeys returns who may sign policies; nil: nobody, this is a repository of releases only.
func (r *Repository) PolicyKeys(ctx context.Context) (*policy.Keys, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.policyKeys(ctx)
}

func (r *Repository) policyKeys(ctx context.Context) (*policy.Keys, error) {
	t, ok := r.targets.Signed.Targets[policy.KeysTarget]
	if !ok {
		return nil, nil
	}
	sum, err := firmware.ParseDigest(t.Hashes["sha256"].String())
	if err != nil {
		return nil, err
	}
	b, err := r.files.Get(ctx, firmware.TargetPath(policy.KeysTarget, sum))
	if err != nil {
		return nil, err
	}
	return policy.ParseKeys(b)
}
