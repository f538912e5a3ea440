package release

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/server/release/packs"
)

// makePacks makes the packs of a pair that are missing, and tells how far it is meanwhile.
func (r *Releases) makePacks(ctx context.Context, p pair, there packSet) (Patches, error) {
	sum := Patches{Base: p.base.Version, State: PatchesReady}
	var done, total atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	finished := make(chan struct{})
	g.Go(func() error {
		defer close(finished)
		for _, part := range p.parts() {
			if there[pack{part.base.SHA256, part.target.SHA256}] {
				info, err := packs.Look(gctx, r.chunks, part.base.SHA256, part.target.SHA256)
				if err != nil {
					return err
				}
				sum.add(info)
				continue
			}
			info, err := r.makePack(gctx, p, part, func(d, t int64) { done.Store(d); total.Store(t) })
			if err != nil {
				return err
			}
			sum.add(info)
		}
		return nil
	})
	g.Go(func() error { return r.tellPatching(gctx, p, &done, &total, finished) })
	return sum, g.Wait()
}

func (r *Releases) makePack(ctx context.Context, p pair, part partPair, progress func(done, total int64)) (packs.Info, error) {
	base, err := r.index(ctx, p.base, part.base)
	if err != nil {
		return packs.Info{}, err
	}
	target, err := r.index(ctx, p.target, part.target)
	if err != nil {
		return packs.Info{}, err
	}
	return packs.Build(ctx, packs.Options{
		Base:   packs.Side{SHA256: part.base.SHA256, Index: base},
		Target: packs.Side{SHA256: part.target.SHA256, Index: target},
		Store:  r.chunks, Workers: r.PatchWorkers, Progress: progress, Pause: r.yield,
	})
}

// yield lets a release that is being built have the machine: people wait for it, and nobody waits for patches.
func (r *Releases) yield(ctx context.Context) error {
	r.heavy.Lock()
	defer r.heavy.Unlock()
	return ctx.Err()
}

// tellPatching writes how far a pack is, when it has come on by a percent.
func (r *Releases) tellPatching(ctx context.Context, p pair, done, total *atomic.Int64, finished <-chan struct{}) error {
	tick := time.NewTicker(patchProgressEvery)
	defer tick.Stop()
	last := int64(-1)
	for {
		d, t := done.Load(), total.Load()
		if percent := 100 * d / max(t, 1); percent != last {
			last = percent
			now := Patches{Base: p.base.Version, State: PatchesBuilding, Progress: Progress{Done: d, Total: t}}
			if err := r.tellOne(ctx, p, now); err != nil && ctx.Err() == nil {
				return fmt.Errorf("tell progress: %w", err)
			}
		}
		select {
		case <-finished:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
