package release

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// CreateProduct makes a product. key is the public key of whoever signs its releases elsewhere; nil: this server makes
// and holds one. Making the same product again answers with it.
func (r *Releases) CreateProduct(ctx context.Context, name string, key *public.Key) (Product, error) {
	if err := firmware.CheckName("product", name); err != nil {
		return Product{}, err
	}
	p := Product{Name: name, Signing: SigningOffline, CreatedAt: r.Now().UTC()}
	if old, err := r.products.Get(ctx, name); err == nil {
		return old.Value, sameProduct(old.Value, key)
	}
	if key == nil {
		held, err := keys.LoadOrGenerate(r.productKey(name))
		if err != nil {
			return Product{}, err
		}
		own := held.Public()
		key, p.Signing = &own, SigningServer
	}
	if err := key.Check(); err != nil {
		return Product{}, fmt.Errorf("product %s: %w: %w", name, ErrInvalid, err)
	}
	p.Keys, p.Public = []string{key.ID()}, []public.Key{*key}
	err := r.Repository.AddProduct(ctx, name, *key)
	if errors.Is(err, repository.ErrExists) {
		return Product{}, fmt.Errorf("%w: %w", err, ErrConflict)
	}
	if err != nil {
		return Product{}, err
	}
	e, err := r.products.Create(ctx, name, p)
	if errors.Is(err, store.ErrExists) {
		if e, err = r.products.Get(ctx, name); err == nil {
			err = sameProduct(e.Value, key)
		}
	}
	return e.Value, err
}

func sameProduct(p Product, key *public.Key) error {
	if key == nil && p.Signing == SigningServer || key != nil && slices.Contains(p.Keys, key.ID()) {
		return nil
	}
	return fmt.Errorf("product %s is here already, signed with another key (%s, %s); take another name: %w",
		p.Name, p.Signing, p.Keys[0][:16], ErrConflict)
}

// Products returns all products by name.
func (r *Releases) Products(ctx context.Context) ([]Product, error) {
	entries, _, err := r.products.List(ctx, store.Page{})
	products := make([]Product, 0, len(entries))
	for _, e := range entries {
		products = append(products, e.Value)
	}
	return products, err
}

// Role returns the newest signed role of a product (nil before its first release) and the counter that its next release
// takes: what it needs to sign elsewhere.
func (r *Releases) Role(ctx context.Context, product string) (role []byte, counter uint64, err error) {
	p, err := r.product(ctx, product)
	if err != nil {
		return nil, 0, err
	}
	role, err = r.Repository.Role(ctx, product)
	return role, p.Value.Counter + 1, err
}

// Product returns one product; the error matches store.ErrNotFound.
func (r *Releases) Product(ctx context.Context, name string) (Product, error) {
	e, err := r.product(ctx, name)
	return e.Value, err
}

func (r *Releases) product(ctx context.Context, name string) (store.Entry[Product], error) {
	e, err := r.products.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return e, fmt.Errorf("there is no product %q; `waxwing product list` shows those that are, `waxwing product create` makes one: %w",
			name, store.ErrNotFound)
	}
	return e, err
}

func (r *Releases) productKey(name string) string {
	return filepath.Join(r.Keys, "product-"+name+".pem")
}
