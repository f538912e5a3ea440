package release

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/server/store"
)

// progressEvery is how often a build says how far it is: often enough to watch, seldom enough for the store.
const progressEvery = 300 * time.Millisecond

// buildAll builds what waits, whenever there is something.
func (r *Releases) buildAll(ctx context.Context) error {
	for {
		waiting, err := r.building(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for _, rel := range waiting {
			if ctx.Err() != nil {
				return nil
			}
			r.Log.Info("building release", "release", rel.Name(), "bytes", rel.Progress.Total)
			// When the server is stopping the release stays building; the next start goes on with it.
			if _, err := r.build(ctx, rel); err != nil && ctx.Err() == nil {
				r.fail(ctx, rel, err)
			}
		}
		if len(waiting) > 0 {
			continue
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// building returns the releases that wait for their build, oldest first.
func (r *Releases) building(ctx context.Context) ([]Release, error) {
	all, _, err := r.releases.List(ctx, store.Page{})
	var waiting []Release
	for _, e := range all {
		if e.Value.State == Building && e.Value.Upload != "" {
			waiting = append(waiting, e.Value)
		}
	}
	slices.SortFunc(waiting, func(a, b Release) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return waiting, err
}

// build cuts the upload of a release, publishes it and drops the upload.
func (r *Releases) build(ctx context.Context, rel Release) (Release, error) {
	f, _, err := r.openUpload(ctx, rel.Upload)
	if err != nil {
		return rel, err
	}
	defer f.Close()

	var done atomic.Int64
	var result *build.Result
	g, gctx := errgroup.WithContext(ctx)
	finished := make(chan struct{})
	g.Go(func() (err error) {
		defer close(finished)
		result, err = build.Payload(gctx, f, build.Options{Chunks: r.chunks, Progress: func(n int64) { done.Store(n) }})
		return err
	})
	g.Go(func() error { return r.tellProgress(gctx, rel.Name(), &done, finished) })
	if err := g.Wait(); err != nil {
		return rel, err
	}
	encoded := result.Index.Encode()
	m := &firmware.Manifest{
		Schema: 1, Product: rel.Product, Version: rel.Version, Counter: rel.Counter, Hardware: rel.Hardware,
		Components: []firmware.Component{{
			Name: rootfs, Handler: firmware.HandlerSlot, Size: result.Size, SHA256: result.SHA256,
			Index: firmware.File{Size: int64(len(encoded)), SHA256: firmware.Sum(encoded)},
		}},
	}
	rel.Size = Size{Payload: result.Size, Stored: result.Stored, NewChunks: result.New, Chunks: result.Chunks}
	upload := rel.Upload
	published, err := r.publishManifest(ctx, rel, m, map[string][]byte{rootfs: encoded}, nil)
	if err != nil {
		return rel, err
	}
	return published, r.dropUpload(ctx, upload)
}

func (r *Releases) tellProgress(ctx context.Context, name string, done *atomic.Int64, finished <-chan struct{}) error {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-finished:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_, err := r.releases.Update(ctx, name, func(d *Release) error {
				d.Progress.Done = done.Load()
				return nil
			})
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("tell progress: %w", err)
			}
		}
	}
}

// fail writes why a release could not be built.
func (r *Releases) fail(ctx context.Context, rel Release, cause error) {
	r.Log.Warn("release failed", "release", rel.Name(), "error", cause)
	_, err := r.releases.Update(ctx, rel.Name(), func(d *Release) error {
		d.State, d.Error = Failed, cause.Error()
		return nil
	})
	if err != nil {
		r.Log.Error("could not record that a release failed; it is built again at the next start", "release", rel.Name(), "error", err)
	}
}
