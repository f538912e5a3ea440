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

// againAfter is how long the builder waits when the store does not answer.
const againAfter = time.Second

// buildAll builds what waits, whenever there is something.
func (r *Releases) buildAll(ctx context.Context) error {
	for ctx.Err() == nil {
		waiting, err := r.building(ctx)
		if err != nil {
			r.Log.Warn("the releases that wait to be built cannot be read; it is tried again", "error", err)
			r.wakeIn(ctx, againAfter)
		}
		for _, rel := range waiting {
			r.buildOne(ctx, rel)
		}
		if len(waiting) > 0 {
			continue // more may have come meanwhile
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
		}
	}
	return nil
}

// buildOne builds a release, or records why it cannot be built. When the server is stopping the release stays building;
// the next start goes on with it.
func (r *Releases) buildOne(ctx context.Context, rel Release) {
	if ctx.Err() != nil {
		return
	}
	r.heavy.Lock()
	defer r.heavy.Unlock()
	r.Log.Info("building release", "release", rel.Name(), "bytes", rel.Progress.Total)
	if _, err := r.build(ctx, rel); err != nil && ctx.Err() == nil {
		r.fail(ctx, rel, err)
	}
}

// wakeIn wakes the builder after a while, or when ctx ends.
func (r *Releases) wakeIn(ctx context.Context, wait time.Duration) {
	select {
	case <-time.After(wait):
		r.rouse()
	case <-ctx.Done():
	}
}

// rouse tells the builder that there may be work.
func (r *Releases) rouse() {
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
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
	for _, chunk := range result.Index.Distinct() {
		rel.Size.Distinct += int64(chunk.Size)
	}
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
