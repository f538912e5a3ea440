package release

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/store"
)

// Request asks for a release. Exactly one of Upload, Components and Signed is given; Hardware comes with the first two.
type Request struct {
	Product, Version string
	Hardware         []string
	Upload           string               // id of a complete upload; it becomes the component "rootfs"
	Components       []firmware.Component // whose chunks and indexes are here
	Signed           *Signed
	Job              *auth.Job // that asks; nil: a person
}

// Signed is a release that was signed elsewhere.
type Signed struct {
	Manifest []byte
	Role     []byte // the product's next TUF role
}

// rootfs is the name of the component that an upload becomes.
const rootfs = "rootfs"

// Create begins a release from an upload, which Run builds, or publishes one from parts that are here, before it returns.
// The same request again answers with the release that is there; the same version with other bytes is an error that
// matches ErrConflict.
func (r *Releases) Create(ctx context.Context, q Request, by string) (Release, error) {
	if err := q.check(); err != nil {
		return Release{}, err
	}
	manifest, err := q.manifest()
	if err != nil {
		return Release{}, err
	}
	old, err := r.releases.Get(ctx, q.Product+"/"+q.Version)
	switch {
	case err == nil && old.Value.State != Failed:
		return old.Value, r.same(ctx, &old.Value, q)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return Release{}, err
	}
	p, err := r.productFor(ctx, q)
	if err != nil {
		return Release{}, err
	}
	if q.Upload != "" {
		return r.createFromUpload(ctx, q, p, old, by)
	}
	return r.createFromParts(ctx, q, p, old, manifest, by)
}

func (q *Request) check() error {
	given := 0
	for _, g := range []bool{q.Upload != "", len(q.Components) > 0, q.Signed != nil} {
		if g {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("give exactly one of upload, components and signed, not %d: %w", given, ErrInvalid)
	}
	if err := firmware.CheckName("product", q.Product); err != nil {
		return err
	}
	if err := firmware.CheckName("version", q.Version); err != nil {
		return err
	}
	if q.Signed != nil {
		return nil
	}
	if len(q.Hardware) == 0 {
		return fmt.Errorf("name the hardware that may run %s %s, at least one id: %w", q.Product, q.Version, ErrInvalid)
	}
	for _, h := range q.Hardware {
		if err := firmware.CheckName("hardware", h); err != nil {
			return err
		}
	}
	return nil
}

// manifest returns what the request fixes of the manifest: all of it when it is signed; nil for an upload.
func (q *Request) manifest() (*firmware.Manifest, error) {
	switch {
	case q.Signed != nil:
		m, err := firmware.ParseManifest(q.Signed.Manifest)
		if err != nil {
			return nil, err
		}
		if m.Product != q.Product || m.Version != q.Version {
			return nil, fmt.Errorf("the signed manifest is of %s %s, the request of %s %s: %w",
				m.Product, m.Version, q.Product, q.Version, ErrInvalid)
		}
		return m, nil
	case len(q.Components) > 0:
		m := &firmware.Manifest{
			Schema: 1, Product: q.Product, Version: q.Version, Counter: 1, Hardware: q.Hardware, Components: q.Components,
		}
		_, err := m.Encode() // checks the components; the counter is set when it is known
		return m, err
	}
	return nil, nil
}

// productFor returns the product of a release and makes one that does not exist when the server may sign for it.
func (r *Releases) productFor(ctx context.Context, q Request) (Product, error) {
	e, err := r.product(ctx, q.Product)
	if errors.Is(err, store.ErrNotFound) && q.Signed == nil {
		return r.CreateProduct(ctx, q.Product, nil)
	}
	if err != nil {
		return Product{}, err
	}
	p := e.Value
	if q.Signed == nil && p.Signing == SigningOffline {
		return p, fmt.Errorf("releases of %s are signed elsewhere; use `waxwing release create --key FILE`, or sign and push: %w",
			p.Name, ErrConflict)
	}
	return p, nil
}

// begin writes the release as building, with the counter that it takes: the given one, or the product's next. Counter and
// release are written together, so two requests never take the same one.
func (r *Releases) begin(ctx context.Context, rel Release, old store.Entry[Release]) (Release, error) {
	for {
		p, err := r.product(ctx, rel.Product)
		if err != nil {
			return rel, err
		}
		last := p.Value.Counter
		switch {
		case rel.Counter == 0 && old.Revision != 0 && old.Value.Counter == last:
			rel.Counter = last // the newest one failed and is tried again
		case rel.Counter == 0:
			rel.Counter = last + 1
		case rel.Counter < last || rel.Counter == last && old.Value.Counter != last:
			return rel, fmt.Errorf("release %s is signed with counter %d but %s is at %d already; fetch the role, sign again: %w",
				rel.Name(), rel.Counter, rel.Product, last, ErrConflict)
		}
		p.Value.Counter = rel.Counter
		b := store.NewBatch(r.Store)
		r.products.UnchangedIn(b, rel.Product, p.Revision)
		r.releases.UnchangedIn(b, rel.Name(), old.Revision)
		err = errors.Join(r.products.PutIn(b, rel.Product, p.Value), r.releases.PutIn(b, rel.Name(), rel))
		if err == nil {
			err = b.Commit(ctx)
		}
		if !errors.Is(err, store.ErrConflict) {
			return rel, err
		}
		now, err := r.releases.Get(ctx, rel.Name())
		if err == nil && now.Revision != old.Revision {
			return rel, fmt.Errorf("release %s was begun by somebody else just now; look at it: %w", rel.Name(), ErrConflict)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return rel, err
		}
		rel.Counter = 0
	}
}

// createFromUpload begins a build; Run does it.
func (r *Releases) createFromUpload(ctx context.Context, q Request, p Product, old store.Entry[Release], by string) (Release, error) {
	f, u, err := r.openUpload(ctx, q.Upload)
	if err != nil {
		return Release{}, err
	}
	f.Close()
	rel, err := r.begin(ctx, Release{
		Product: q.Product, Version: q.Version, State: Building, Hardware: q.Hardware, Upload: u.ID,
		Progress: Progress{Total: u.Size}, SignedBy: p.Keys, CreatedAt: r.Now().UTC(), CreatedBy: by, Job: q.Job,
	}, old)
	if err != nil {
		return rel, err
	}
	r.rouse()
	return rel, nil
}

// createFromParts publishes chunks and indexes that were pushed.
func (r *Releases) createFromParts(
	ctx context.Context, q Request, p Product, old store.Entry[Release], m *firmware.Manifest, by string,
) (Release, error) {
	parts, err := r.checkParts(ctx, m)
	if err != nil {
		return Release{}, err
	}
	rel := Release{
		Product: q.Product, Version: q.Version, State: Building, Hardware: m.Hardware, Size: parts.size,
		Progress: Progress{Total: parts.size.Payload}, SignedBy: p.Keys, CreatedAt: r.Now().UTC(), CreatedBy: by, Job: q.Job,
	}
	if q.Signed != nil {
		rel.Counter = m.Counter
	}
	if rel, err = r.begin(ctx, rel, old); err != nil {
		return rel, err
	}
	m.Counter = rel.Counter
	done, err := r.publishManifest(context.WithoutCancel(ctx), rel, m, parts.indexes, q.Signed)
	if err != nil {
		r.fail(context.WithoutCancel(ctx), rel, err)
		return done, err
	}
	return done, nil
}

// same returns nil when the request asks for exactly the release that is there.
func (r *Releases) same(ctx context.Context, rel *Release, q Request) error {
	other := fmt.Errorf("release %s is here already with other contents (it is %s); give this one a new version: %w",
		rel.Name(), rel.State, ErrConflict)
	m := rel.Manifest
	switch {
	case q.Upload != "" && q.Upload == rel.Upload:
		return nil
	case q.Signed != nil:
		if firmware.Sum(q.Signed.Manifest) != rel.Digest {
			return other
		}
		return nil
	case !slices.Equal(q.Hardware, rel.Hardware):
		return fmt.Errorf("%w (it is for hardware %s)", other, strings.Join(rel.Hardware, ", "))
	case q.Upload == "":
		if m == nil || !slices.Equal(q.Components, m.Components) {
			return other
		}
		return nil
	}
	sum, size, err := r.sumUpload(ctx, q.Upload)
	if err != nil {
		return err
	}
	if m == nil { // still building: compare with what it is built from
		if was, _, err := r.sumUpload(ctx, rel.Upload); err != nil || was != sum {
			return errors.Join(other, err)
		}
	} else if c, ok := m.Component(rootfs); !ok || len(m.Components) != 1 || c.SHA256 != sum || c.Size != size {
		return other
	}
	return r.dropUpload(ctx, q.Upload)
}

func (r *Releases) sumUpload(ctx context.Context, id string) (sum firmware.Digest, size int64, err error) {
	f, u, err := r.openUpload(ctx, id)
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, 0, err
	}
	h.Sum(sum[:0])
	return sum, u.Size, nil
}
