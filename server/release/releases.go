package release

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// Repository publishes; signing/repository is it.
type Repository interface {
	AddProduct(ctx context.Context, name string, key public.Key) error
	Role(ctx context.Context, product string) ([]byte, error)
	Publish(ctx context.Context, product string, role []byte, targets map[string][]byte) error
}

// Verifier reads a release back as a device would; [Trust] is it.
type Verifier interface {
	Verify(ctx context.Context, r policy.Release) error
}

// Options of New.
type Options struct {
	Store      *store.Store
	Blob       blob.Store // chunks go below repo/chunks/
	Repository Repository
	Verifier   Verifier
	Uploads    string // folder for images on their way
	Keys       string // folder of the product keys that this server holds
	MaxImage   int64  // bytes; 0: 16 GiB
	// Running says what the fleet runs, so that there are patches from it; nil: nothing is known of it.
	Running      func(ctx context.Context) ([]Running, error)
	PatchWorkers int           // cores that make patches; 0: half of them, four at most; less than 0: none, no patches are made
	PatchEvery   time.Duration // how often it is looked whether the fleet runs something else; 0: two minutes
	Log          *slog.Logger
	Now          func() time.Time // nil: the clock of the machine
}

// mostWorkers bounds the cores that make patches when nobody says how many: each takes about 200 MiB.
const mostWorkers = 4

// uploadLife is how long an upload that nobody continues is kept.
const uploadLife = 24 * time.Hour

// Releases keeps products and releases. It is safe for concurrent use.
type Releases struct {
	Options
	chunks   build.Store
	products store.Collection[Product]
	releases store.Collection[Release]
	uploads  store.Collection[Upload]

	attestations store.Collection[Attestation]
	envelopes    store.Collection[string]

	wake    chan struct{}
	patch   chan struct{}    // releases have changed: patches may be wanted
	broken  map[string]error // pairs whose patches failed; of patchAll
	looked  map[string]bool  // pairs whose packs can be read; of patchAll
	heavy   sync.Mutex       // held while a release is built
	writing locks            // uploads that a request appends to now
	publish sync.Mutex       // one publication at a time: each signs the role that follows the last one
}

// New returns the releases over a store; its folders are made when they are missing.
func New(o Options) (*Releases, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxImage <= 0 {
		o.MaxImage = 16 << 30
	}
	if o.PatchWorkers == 0 {
		o.PatchWorkers = min(max(runtime.GOMAXPROCS(0)/2, 1), mostWorkers)
	}
	if o.PatchEvery <= 0 {
		o.PatchEvery = 2 * time.Minute
	}
	o.MaxImage = min(o.MaxImage, firmware.MaxPayloadSize)
	for _, dir := range []string{o.Uploads, o.Keys} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("folder for releases: %w", err)
		}
	}
	return &Releases{
		Options:  o,
		chunks:   build.Store{Blob: o.Blob, Prefix: RepoPrefix},
		products: store.NewCollection[Product](o.Store, ProductsName),
		releases: store.NewCollection[Release](o.Store, ReleasesName),
		uploads:  store.NewCollection[Upload](o.Store, UploadsName),

		attestations: store.NewCollection[Attestation](o.Store, AttestationsName),
		envelopes:    store.NewCollection[string](o.Store, EnvelopesName),

		wake:   make(chan struct{}, 1),
		patch:  make(chan struct{}, 1),
		broken: map[string]error{},
		looked: map[string]bool{},
	}, nil
}

// Run builds releases, one after the other on all cores, those that an earlier process left first; makes patches beside
// that, one pack at a time; and sweeps abandoned uploads. It returns when ctx ends.
func (r *Releases) Run(ctx context.Context) error {
	if err := r.settle(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.buildAll(ctx) })
	if r.PatchWorkers > 0 {
		g.Go(func() error { return r.patchAll(ctx) })
	}
	g.Go(func() error { return r.sweepAll(ctx) })
	return g.Wait()
}

// settle ends what only the process that began it could finish: a publication of components or of a signed role, whose
// request died with that process.
func (r *Releases) settle(ctx context.Context) error {
	all, _, err := r.releases.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Value.State == Building && e.Value.Upload == "" {
			r.fail(ctx, e.Value, errInterrupted)
		}
	}
	return nil
}

var errInterrupted = fmt.Errorf("the server stopped while it published this; send the request again: %w", ErrConflict)

func (r *Releases) sweepAll(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("sweeping abandoned uploads failed; it is tried again in an hour", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sweep removes uploads and handed-in indexes that nobody touched for a day, and files without a document.
func (r *Releases) sweep(ctx context.Context) error {
	old := r.Now().Add(-uploadLife)
	all, _, err := r.uploads.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, e := range all {
		busy, err := r.isUsed(ctx, e.Key)
		if err != nil {
			return err
		}
		if busy || e.Value.TouchedAt.After(old) {
			known[e.Key] = true
		} else if err := r.uploads.Delete(ctx, e.Key); err != nil {
			return err
		}
	}
	files, err := os.ReadDir(r.Uploads)
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || known[f.Name()] || info.ModTime().After(old) {
			continue
		}
		if err := os.Remove(filepath.Join(r.Uploads, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// isUsed reports whether a release is being built from the upload, or failed and may be tried again.
func (r *Releases) isUsed(ctx context.Context, upload string) (bool, error) {
	all, _, err := r.releases.List(ctx, store.Page{})
	for _, e := range all {
		if e.Value.Upload == upload && e.Value.State == Building {
			return true, err
		}
	}
	return false, err
}
