package release

import (
	"context"
	"errors"
	"fmt"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// Sign has the server's key of a product sign a release from parts that are here, and publishes nothing: who may have
// releases signed and who may publish them need not be the same. What it returns counts until another release of the
// product is published.
func (r *Releases) Sign(ctx context.Context, q Request) (Signed, uint64, error) {
	none := func(err error) (Signed, uint64, error) { return Signed{}, 0, err }
	if len(q.Components) == 0 {
		return none(fmt.Errorf("give the components to sign; push their chunks and indexes first: %w", ErrInvalid))
	}
	if err := q.check(); err != nil {
		return none(err)
	}
	m, err := q.manifest()
	if err != nil {
		return none(err)
	}
	p, err := r.Product(ctx, q.Product)
	if err != nil {
		return none(err)
	}
	if p.Signing != SigningServer {
		return none(fmt.Errorf("the server holds no key of %s; sign with `waxwing release sign --key FILE`: %w", p.Name, ErrConflict))
	}
	old, err := r.releases.Get(ctx, q.Product+"/"+q.Version)
	if err == nil && old.Value.State != Failed {
		return none(fmt.Errorf("release %s is here already (it is %s): %w", old.Key, old.Value.State, ErrConflict))
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return none(err)
	}
	parts, err := r.checkParts(ctx, m) // nothing is signed that no device could assemble
	if err != nil {
		return none(err)
	}
	m.Counter = p.Counter + 1
	manifest, err := m.Encode()
	if err != nil {
		return none(err)
	}
	targets := map[string][]byte{firmware.ManifestTarget(m.Product, m.Version): manifest}
	for name, index := range parts.indexes {
		targets[firmware.IndexTarget(m.Product, m.Version, name)] = index
	}
	role, err := r.signRole(ctx, m.Product, targets)
	return Signed{Manifest: manifest, Role: role}, m.Counter, err
}

// signRole returns the next role of a product, signed with the key that this server holds.
func (r *Releases) signRole(ctx context.Context, product string, targets map[string][]byte) ([]byte, error) {
	key, err := keys.Load(r.productKey(product))
	if err != nil {
		return nil, fmt.Errorf("signing key of product %s: %w", product, err)
	}
	old, err := r.Repository.Role(ctx, product)
	if err != nil {
		return nil, err
	}
	return repository.SignRelease(old, product, targets, key, r.Now())
}
