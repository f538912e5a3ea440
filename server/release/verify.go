package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// Trust verifies releases with the code and the kind of memory that a device has.
type Trust struct {
	Dir  string // of the trust store
	Root func(ctx context.Context) ([]byte, error)
	Blob blob.Store
	Now  func() time.Time

	mu     sync.Mutex
	device *trust.Trust
}

// Verify reads manifest and indexes of a release from the repository, as a device would.
func (t *Trust) Verify(ctx context.Context, r policy.Release) error {
	device, err := t.open(ctx)
	if err != nil {
		return err
	}
	if err := device.Refresh(ctx); err != nil {
		return err
	}
	m, err := device.Manifest(ctx, &policy.Policy{Release: &r})
	if err != nil {
		return err
	}
	for _, c := range m.Components {
		if _, err := device.Index(ctx, m, c.Name); err != nil {
			return err
		}
	}
	return nil
}

func (t *Trust) open(ctx context.Context) (*trust.Trust, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.device != nil {
		return t.device, nil
	}
	root, err := t.Root(ctx)
	if err != nil {
		return nil, err
	}
	device, err := trust.Open(trust.Options{Dir: t.Dir, Root: root, Fetch: Fetcher{t.Blob}, Now: t.Now})
	if err != nil && !errors.Is(err, trust.ErrRollback) { // what this trust forgot, it reads again
		return nil, err
	}
	t.device = device
	return device, nil
}

// Fetcher reads the repository straight from the blob store, as trust.Fetcher.
type Fetcher struct{ Blob blob.Store }

// Fetch implements trust.Fetcher.
func (f Fetcher) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	b, err := build.Read(ctx, f.Blob, RepoPrefix+path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", trust.ErrNotFound, err)
	}
	return b, err
}
