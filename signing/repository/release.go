package repository

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

// AddProduct delegates <product>/*/* to a key. Adding the same product with the same key changes nothing; with another
// key the error matches ErrExists. Where targets are signed offline it is an [OfflineError].
func (r *Repository) AddProduct(ctx context.Context, product string, key public.Key) error {
	return r.delegate(ctx, product, public.Any(key), false)
}

// Delegate says who signs a product's releases from now on. When others did before, the newest role of the product is to be
// signed again before devices refresh: until then they refuse it.
func (r *Repository) Delegate(ctx context.Context, product string, rule public.Rule) error {
	return r.delegate(ctx, product, rule, true)
}

func (r *Repository) delegate(ctx context.Context, product string, rule public.Rule, replace bool) error {
	if err := firmware.CheckName("product", product); err != nil {
		return err
	}
	if slices.Contains(metadata.TOP_LEVEL_ROLE_NAMES[:], product) {
		return fmt.Errorf("product %s: that is the name of a top-level role: %w", product, ErrInvalid)
	}
	if err := rule.Check(); err != nil || len(rule.Each) > 0 {
		return fmt.Errorf("product %s: %w: TUF asks for a number of signatures: %w", product, ErrInvalid, err)
	}
	return r.change(ctx, func() error {
		d := r.targets.Signed.Delegations
		if d == nil {
			d = &metadata.Delegations{}
			r.targets.Signed.Delegations = d
		}
		at := slices.IndexFunc(d.Roles, func(o metadata.DelegatedRole) bool { return o.Name == product })
		if at >= 0 {
			was, err := ruleOf(d.Keys, d.Roles[at].KeyIDs, d.Roles[at].Threshold)
			if err == nil && len(ruleChanges("", was, rule)) == 0 {
				return nil
			}
			if !replace {
				return fmt.Errorf("product %s has another key: %w", product, ErrExists)
			}
		}
		if d.Keys == nil {
			d.Keys = map[string]*metadata.Key{}
		}
		ids, err := listed(d.Keys, rule.Keys)
		if err != nil {
			return err
		}
		said := metadata.DelegatedRole{
			Name: product, KeyIDs: ids, Threshold: rule.Threshold, Terminating: true, Paths: []string{product + "/*/*"},
		}
		if at >= 0 {
			d.Roles[at] = said
		} else {
			d.Roles = append(d.Roles, said)
		}
		maps.DeleteFunc(d.Keys, func(id string, _ *metadata.Key) bool {
			return !slices.ContainsFunc(d.Roles, func(o metadata.DelegatedRole) bool { return slices.Contains(o.KeyIDs, id) })
		})
		return r.publishTargets(ctx, nil)
	})
}

// Role returns the newest published role of a product; nil before its first release.
func (r *Repository) Role(ctx context.Context, product string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.catchUp(ctx); err != nil {
		return nil, err
	}
	return r.role(ctx, product)
}

func (r *Repository) role(ctx context.Context, product string) ([]byte, error) {
	meta, ok := r.snapshot.Signed.Meta[product+".json"]
	if !ok {
		return nil, nil
	}
	return r.files.Get(ctx, versioned(meta.Version, product))
}

// SignRelease returns the product's next role: the given one (nil: none yet) with targets added, by name. It is pure but
// for the signer. A target that the role lists with other bytes is refused with ErrExists.
func SignRelease(role []byte, product string, targets map[string][]byte, by keys.Signer, now time.Time) ([]byte, error) {
	md := metadata.Targets()
	md.Signed.Version = 0
	if role != nil {
		var err error
		if md, err = new(metadata.Metadata[metadata.TargetsType]).FromBytes(role); err != nil {
			return nil, fmt.Errorf("role %s: %w", product, err)
		}
	}
	for name, content := range targets {
		if !strings.HasPrefix(name, product+"/") {
			return nil, fmt.Errorf("target %s does not belong to product %s: %w", name, product, ErrInvalid)
		}
		if err := tuf.CheckTarget(name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		t := target(content)
		if old, ok := md.Signed.Targets[name]; ok && !old.Equal(*t) {
			return nil, fmt.Errorf("target %s: %w", name, ErrExists)
		}
		md.Signed.Targets[name] = t
	}
	md.Signed.Version++
	md.Signed.Expires = expiry(now, productLife)
	return sign(md, by)
}

// Publish makes a signed role visible, with the targets that are new in it. The role must be the product's next version,
// signed by its key, and must drop or change nothing that was published. Publishing the same role again changes nothing.
func (r *Repository) Publish(ctx context.Context, product string, role []byte, targets map[string][]byte) error {
	md, err := new(metadata.Metadata[metadata.TargetsType]).FromBytes(role)
	if err != nil {
		return fmt.Errorf("role %s: %w: %w", product, ErrInvalid, err)
	}
	return r.change(ctx, func() error { return r.publish(ctx, product, role, md, targets) })
}

func (r *Repository) publish(
	ctx context.Context, product string, role []byte, md *metadata.Metadata[metadata.TargetsType], targets map[string][]byte,
) error {
	if err := r.targets.VerifyDelegate(product, md); err != nil {
		return fmt.Errorf("role %s is not signed by the product's key: %w: %w", product, ErrInvalid, err)
	}
	old, err := r.role(ctx, product)
	if err != nil {
		return err
	}
	if string(old) == string(role) {
		return nil
	}
	if err := follows(product, old, md, r.now()); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		listed, ok := md.Signed.Targets[name]
		if !ok || !listed.Equal(*target(targets[name])) {
			return fmt.Errorf("target %s is not listed with these bytes: %w", name, ErrInvalid)
		}
		if err := r.putNew(ctx, firmware.TargetPath(name, firmware.Sum(targets[name])), targets[name]); err != nil {
			return err
		}
	}
	return r.publishSnapshot(ctx, product, md.Signed.Version, role)
}

// follows checks that a role may come after the published one.
func follows(product string, old []byte, md *metadata.Metadata[metadata.TargetsType], now time.Time) error {
	var version int64
	before := map[string]*metadata.TargetFiles{}
	if old != nil {
		o, err := new(metadata.Metadata[metadata.TargetsType]).FromBytes(old)
		if err != nil {
			return fmt.Errorf("published role %s: %w", product, err)
		}
		version, before = o.Signed.Version, o.Signed.Targets
	}
	if md.Signed.Version != version+1 {
		return fmt.Errorf("role %s has version %d where %d comes next; fetch the newest and sign again: %w",
			product, md.Signed.Version, version+1, ErrExists)
	}
	if md.Signed.IsExpired(now) || md.Signed.Delegations != nil {
		return fmt.Errorf("role %s has expired or delegates further: %w", product, ErrInvalid)
	}
	for name, t := range before {
		now, ok := md.Signed.Targets[name]
		if !ok || !now.Equal(*t) {
			return fmt.Errorf("role %s drops or changes %s: %w", product, name, ErrInvalid)
		}
	}
	for name, t := range md.Signed.Targets {
		if !strings.HasPrefix(name, product+"/") || len(t.Hashes) != 1 || len(t.Hashes["sha256"]) != 32 {
			return fmt.Errorf("role %s lists %s, outside the product or without one sha256: %w", product, name, ErrInvalid)
		}
		if err := tuf.CheckTarget(name); err != nil {
			return fmt.Errorf("role %s: %w: %w", product, ErrInvalid, err)
		}
	}
	if is, was := securityFloor(md.Signed.Targets), securityFloor(before); is < was {
		return fmt.Errorf("role %s lowers the security floor from %d to %d: %w", product, was, is, ErrInvalid)
	}
	return nil
}
