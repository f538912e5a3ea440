package trust

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

// Manifest returns the manifest that a policy names, when the repository names the same one, it fits this hardware and its
// counter is neither below the product's security floor nor, unless an accepted policy brings a grant, below the committed
// one. On a device, an accepted policy must want this very release installed now. Call Refresh before. Errors match
// ErrUnwanted, ErrMismatch, ErrHardware, ErrCounter, ErrRollback (the repository is older than the policy), ErrUntrusted,
// ErrExpired.
func (t *Trust) Manifest(ctx context.Context, p *policy.Policy) (*firmware.Manifest, error) {
	t.net.Lock()
	defer t.net.Unlock()
	if err := p.Release.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	if t.o.Device != "" && len(t.wanting(*p.Release)) == 0 {
		return nil, fmt.Errorf("%s %s: %w", p.Release.Product, p.Release.Version, ErrUnwanted)
	}
	tm, err := t.product(ctx, p.Release.Product)
	if err != nil {
		return nil, mismatch(err)
	}
	if v := tm.Snapshot.Version; v < p.SnapshotFloor {
		return nil, fmt.Errorf("the repository is at snapshot %d, the policy needs %d: %w", v, p.SnapshotFloor, ErrRollback)
	}
	m, err := t.manifest(ctx, tm, *p.Release)
	if err != nil {
		return nil, mismatch(err)
	}
	return m, t.mayInstall(tm, *p.Release)
}

// wanting returns the policies in force that want a release installed here.
func (t *Trust) wanting(r policy.Release) (out []*policy.Policy) {
	for _, p := range t.Applying() {
		if p.Action == policy.Install && *p.Release == r {
			out = append(out, p)
		}
	}
	return out
}

// errUnlisted says that the repository does not have something.
var errUnlisted = fmt.Errorf("%w in the repository", ErrNotFound)

// mismatch is errUnlisted in the eyes of a policy or a manifest that names what is not there; other errors stay.
func mismatch(err error) error {
	if errors.Is(err, errUnlisted) {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	return err
}

// Find looks a release up by name, without a policy: what the command line does. Call Refresh before. The error matches
// ErrNotFound when there is no such release.
func (t *Trust) Find(ctx context.Context, product, version string) (policy.Release, *firmware.Manifest, error) {
	t.net.Lock()
	defer t.net.Unlock()
	r := policy.Release{Product: product, Version: version, Target: firmware.ManifestTarget(product, version)}
	if err := errors.Join(firmware.CheckName("product", product), firmware.CheckName("version", version)); err != nil {
		return r, nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	tm, err := t.product(ctx, product)
	if err != nil {
		return r, nil, err
	}
	listed, err := lookup(tm, product, r.Target)
	if err != nil {
		return r, nil, err
	}
	if r.SHA256, err = digest(listed); err != nil {
		return r, nil, err
	}
	r.Length = listed.Length
	m, err := t.manifest(ctx, tm, r)
	if err == nil {
		r.Counter = m.Counter
	}
	return r, m, err
}

// Index returns the index of a component, when the repository and the manifest agree on it.
func (t *Trust) Index(ctx context.Context, m *firmware.Manifest, component string) (*firmware.Index, error) {
	t.net.Lock()
	defer t.net.Unlock()
	c, ok := m.Component(component)
	if !ok {
		return nil, fmt.Errorf("%s %s has no component %s: %w", m.Product, m.Version, component, ErrMismatch)
	}
	tm, err := t.product(ctx, m.Product)
	if err != nil {
		return nil, err
	}
	name := firmware.IndexTarget(m.Product, m.Version, component)
	listed, err := lookup(tm, m.Product, name)
	if err != nil {
		return nil, mismatch(err)
	}
	if sum, err := digest(listed); err != nil || sum != c.Index.SHA256 || listed.Length != c.Index.Size {
		return nil, errors.Join(fmt.Errorf("index %s: %w", name, ErrMismatch), err)
	}
	b, err := t.object(ctx, name, c.Index.SHA256, c.Index.Size)
	if err != nil {
		return nil, err
	}
	index, err := firmware.ParseIndex(b)
	if err != nil {
		return nil, err
	}
	if index.Size() != c.Size {
		return nil, fmt.Errorf("index %s describes %d bytes, the manifest %d: %w", name, index.Size(), c.Size, ErrMismatch)
	}
	return index, nil
}

func (t *Trust) manifest(ctx context.Context, tm *tuf.Rules, r policy.Release) (*firmware.Manifest, error) {
	listed, err := lookup(tm, r.Product, r.Target)
	if err != nil {
		return nil, err
	}
	if sum, err := digest(listed); err != nil || sum != r.SHA256 || listed.Length != r.Length {
		return nil, errors.Join(fmt.Errorf("manifest %s: %w", r.Target, ErrMismatch), err)
	}
	b, err := t.object(ctx, r.Target, r.SHA256, min(r.Length, firmware.MaxManifestSize))
	if err != nil {
		return nil, err
	}
	m, err := firmware.ParseManifest(b)
	if err != nil {
		return nil, err
	}
	switch {
	case m.Product != r.Product || m.Version != r.Version || (r.Counter != 0 && m.Counter != r.Counter):
		return nil, fmt.Errorf("manifest %s is of %s %s, counter %d: %w", r.Target, m.Product, m.Version, m.Counter, ErrMismatch)
	case t.o.Hardware != "" && !m.Fits(t.o.Hardware):
		return nil, fmt.Errorf("%s %s is for %v, this is %s: %w", m.Product, m.Version, m.Hardware, t.o.Hardware, ErrHardware)
	}
	return m, nil
}

// product returns the rules with a product's role in them, the remembered one or, when the snapshot names another, the
// fetched one.
func (t *Trust) product(ctx context.Context, product string) (*tuf.Rules, error) {
	rec := t.remembered()
	tm, err := t.loaded(rec)
	if err != nil {
		return nil, fmt.Errorf("what is remembered of the repository: %w", err)
	}
	meta, ok := tm.Snapshot.Meta[product+".json"]
	if !ok {
		return nil, fmt.Errorf("product %s: %w", product, errUnlisted)
	}
	if tm.UpdateProduct(rec.Roles[product], product) == nil {
		return tm, nil
	}
	if tm.Twin(rec.Roles[product], product) {
		return nil, fmt.Errorf("role %s: %w", product, ErrEquivocation)
	}
	b, err := t.fetchRole(ctx, product, meta, maxTargets)
	if err != nil {
		return nil, err
	}
	if err := tm.UpdateProduct(b, product); err != nil {
		return nil, err
	}
	return tm, t.update(func(r *record) error { r.Roles[product] = b; return nil })
}

// lookup finds a target in the product's role, which must be the one that the top-level targets delegate its path to.
func lookup(tm *tuf.Rules, product, name string) (tuf.Target, error) {
	if tm.Delegated(name) != product {
		return tuf.Target{}, fmt.Errorf("%s is not delegated to %s: %w", name, product, ErrMismatch)
	}
	listed, ok := tm.Products[product].Targets[name]
	if !ok {
		return tuf.Target{}, fmt.Errorf("%s: %w", name, errUnlisted)
	}
	return listed, nil
}

// objectsDir holds verified targets by digest; the newest keepObjects of them stay.
const (
	objectsDir  = "objects"
	keepObjects = 12
)

// Object returns what neighbours may ask for by its digest: a verified target that lies in the cache, or metadata that the
// timestamp or the snapshot names. It is nil when there is none.
func (t *Trust) Object(sum firmware.Digest) []byte {
	t.mu.Lock()
	doc := t.docs[sum]
	t.mu.Unlock()
	if doc != nil {
		return doc
	}
	b, err := os.ReadFile(filepath.Join(t.o.Dir, objectsDir, sum.String()))
	if err != nil || firmware.Sum(b) != sum {
		return nil
	}
	return b
}

// object returns a target with a known digest, from the cache or the repository.
func (t *Trust) object(ctx context.Context, name string, sum firmware.Digest, size int64) ([]byte, error) {
	if b := t.Object(sum); b != nil {
		return b, nil
	}
	b, err := t.fetch(ctx, firmware.TargetPath(name, sum), size)
	if err != nil {
		return nil, err
	}
	if firmware.Sum(b) != sum {
		return nil, fmt.Errorf("%s: %w", name, ErrUntrusted)
	}
	cached := filepath.Join(t.o.Dir, objectsDir, sum.String())
	if info, err := os.Lstat(cached); err == nil && !info.Mode().IsRegular() {
		if err := os.RemoveAll(cached); err != nil {
			return nil, err
		}
	}
	if err := atomicfile.Write(cached, b, 0o600); err != nil {
		return nil, err
	}
	t.dropOldObjects()
	return b, nil
}

func (t *Trust) dropOldObjects() {
	dir := filepath.Join(t.o.Dir, objectsDir)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= keepObjects {
		return
	}
	age := func(e os.DirEntry) int64 {
		if info, err := e.Info(); err == nil {
			return info.ModTime().UnixNano()
		}
		return 0
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return int(min(max(age(b)-age(a), -1), 1)) })
	for _, e := range entries[keepObjects:] {
		os.Remove(filepath.Join(dir, e.Name())) // a cache: what cannot be removed may stay
	}
}
