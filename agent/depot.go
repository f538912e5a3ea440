package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waxwing-ota/waxwing/agent/depot"
	"github.com/waxwing-ota/waxwing/agent/install"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/agent/update"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

const (
	keepAgain = 5 * time.Minute  // a policy may expire, or room be made, without anybody saying so
	keepRetry = 20 * time.Second // the first time; what will never do is not asked for all day
)

// keeper is what a depot does in place of updates: it keeps the releases that the policies of its groups name, whichever
// cohort has begun, and shares them.
type keeper struct {
	agent *Agent
	store *depot.Store
	news  chan struct{} // the report says something else now; buffer of one

	// Owned by run, and by work while that runs.
	open map[firmware.Digest]*kept // by manifest

	mu      sync.Mutex
	trouble string
}

// kept is a payload that is shared.
type kept struct {
	content
	stop func()
}

func newKeeper(a *Agent) (*keeper, error) {
	s, err := depot.Open(depot.Options{Dir: a.Config.Path(depotDir), Space: a.Config.Depot.space(), Now: a.Now})
	if err != nil {
		return nil, fmt.Errorf("%w; make the folder writable, or remove it", err)
	}
	return &keeper{agent: a, store: s, news: make(chan struct{}, 1), open: map[firmware.Digest]*kept{}}, nil
}

// report is what the depot says of itself.
func (k *keeper) report() *protocol.Depot {
	d := &protocol.Depot{Releases: []protocol.Kept{}, Bytes: k.store.Used(), Space: k.store.Space()}
	for _, h := range k.store.List() {
		if len(d.Releases) < protocol.MaxKept {
			d.Releases = append(d.Releases, protocol.Kept{Product: h.Product, Version: h.Version, SHA256: h.Manifest})
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	d.Trouble = k.trouble
	return d
}

// tell makes run report.
func (k *keeper) tell() {
	select {
	case k.news <- struct{}{}:
	default:
	}
}

// run keeps releases until ctx ends. One goroutine works on them, one by one.
func (k *keeper) run(ctx context.Context) error {
	for _, held := range k.store.List() {
		k.share(held.Manifest)
	}
	defer func() {
		for manifest := range k.open {
			k.unshare(manifest)
		}
	}()
	k.agent.Log.Info("started as a depot", "releases", len(k.open), "bytes", k.store.Used(), "space", k.store.Space())
	again := time.NewTimer(keepAgain)
	defer again.Stop()
	retry := keepRetry
	var working chan error // nil: nobody works
	for due := true; ; {
		if due && working == nil {
			due = false
			working = make(chan error, 1)
			go func(done chan<- error) { done <- k.work(ctx) }(working)
		}
		k.agent.reporter.note(k.agent.snapshot(), false)
		select {
		case <-ctx.Done():
			if working != nil {
				k.note(ctx, <-working)
			}
			return ctx.Err()
		case err := <-working:
			working = nil
			k.note(ctx, err)
			wait := keepAgain
			if err == nil {
				retry = keepRetry
			} else if !errors.Is(err, depot.ErrFull) {
				wait, retry = jitter(retry), min(2*retry, keepAgain)
			}
			again.Reset(wait)
		case <-k.agent.wishes:
			due = true
		case <-again.C:
			due = true
		case <-k.news:
		}
	}
}

// note remembers why something is not kept.
func (k *keeper) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if text != "" && text != k.trouble {
		k.agent.Log.Warn("a release is not kept", "error", err)
	}
	k.trouble = text
}

// work gets what is wanted and not there. What one release lacks does not keep the others away.
func (k *keeper) work(ctx context.Context) error {
	var targets []update.Target
	wanted := map[firmware.Digest]bool{}
	lacks := false
	for _, p := range k.agent.trust.Applying() {
		if p.Action != policy.Install || p.Release == nil || wanted[p.Release.SHA256] {
			continue
		}
		wanted[p.Release.SHA256] = true
		lacks = lacks || !k.store.Has(p.Release.SHA256)
		targets = append(targets, update.Target{
			Audience: p.Audience.String(), Policy: p.Seq, Rollout: p.Rollout, Release: *p.Release, SnapshotFloor: p.SnapshotFloor,
		})
	}
	if !lacks {
		return nil
	}
	if err := k.agent.trust.Refresh(ctx); err != nil {
		return err
	}
	room := depot.Room{
		Wanted: func(manifest firmware.Digest) bool { return wanted[manifest] },
		Leaves: func(manifest firmware.Digest) {
			k.agent.Log.Info("a release leaves the depot", "manifest", manifest)
			k.unshare(manifest)
		},
	}
	var errs []error
	for _, t := range targets {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if k.store.Has(t.Release.SHA256) {
			continue
		}
		if err := k.keep(ctx, t, room); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", t.Release.Product, t.Release.Version, err))
			continue
		}
		k.agent.Log.Info("a release is kept", "product", t.Release.Product, "version", t.Release.Version)
		k.tell()
	}
	return errors.Join(errs...)
}

// keep verifies a release as a device would, gets it and shares it. Nothing counts as committed, as nothing runs.
func (k *keeper) keep(ctx context.Context, t update.Target, room depot.Room) error {
	a := k.agent
	defer a.settle()
	a.running = k.base(t.Release.Product)
	p, err := a.plan(ctx, t)
	if err != nil {
		return err
	}
	for {
		err := k.get(ctx, t.Release.SHA256, p, room)
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			return err
		}
		if !k.store.Evict(room) { // others need the disk too
			return errors.Join(fmt.Errorf("%w: %w", depot.ErrFull, err), k.store.Discard(t.Release.SHA256))
		}
	}
}

// base returns the newest payload of a product, by which patches and seeds are found; nil: there is none.
func (k *keeper) base(product string) *content {
	for _, held := range k.store.List() {
		if c := k.open[held.Manifest]; c != nil && held.Product == product {
			return &c.content
		}
	}
	return nil
}

// get assembles a payload out of those that are kept, from neighbours and from the origin.
func (k *keeper) get(ctx context.Context, manifest firmware.Digest, p *plan, room depot.Room) error {
	a := k.agent
	place, err := k.store.Begin(manifest, p.component.Size, room)
	if err != nil {
		return err
	}
	defer closeQuietly(place)
	var seeds []firmware.Source
	for _, held := range k.store.List() {
		if c := k.open[held.Manifest]; c != nil && held.Product == p.manifest.Product {
			seeds = append(seeds, c.seed)
		}
	}
	from := a.remote(ctx, p)
	job := assemble.New(assemble.Options{
		Index: p.index, Digest: p.component.SHA256, Target: blamed{place}, Seeds: seeds, Workers: assembleWorkers,
	})
	swarm := a.swarm(p, job, from)
	if _, err := job.Run(ctx, func(ctx context.Context, missing []firmware.Chunk, deliver assemble.Deliver) error {
		if len(missing) == 0 {
			return nil
		}
		return a.fetch(ctx, swarm, missing, deliver)
	}); err != nil {
		return err
	}
	if err := k.store.Finish(install.Held{
		Product: p.manifest.Product, Version: p.manifest.Version, Counter: p.manifest.Counter, Manifest: manifest,
		Component: p.component.Name, Size: p.component.Size, Payload: p.component.SHA256,
	}, p.index); err != nil {
		return err
	}
	a.passed.save()
	k.share(manifest)
	return nil
}

// share offers a release to the neighbours. One that cannot be read is forgotten, and got again if it is wanted.
func (k *keeper) share(manifest firmware.Digest) {
	a := k.agent
	payload, index, err := k.store.Open(manifest)
	if err != nil {
		a.Log.Warn("a release that was kept is lost", "error", errors.Join(err, k.store.Forget(manifest)))
		return
	}
	c := content{payload: payload, index: index, seed: firmware.NewSeed(index, payload)}
	for _, held := range k.store.List() {
		if held.Manifest == manifest {
			c.held = held
		}
	}
	k.open[manifest] = &kept{content: c, stop: a.neighbors.Share(a.passed.on(c.held.Payload, Swarm{ID: indexOf(index), Index: index, Have: c.seed}))}
}

func (k *keeper) unshare(manifest firmware.Digest) {
	c := k.open[manifest]
	if c == nil {
		return
	}
	c.stop()
	if k.agent.running == &c.content { // patches from it are of no use any more
		k.agent.running = nil
		k.agent.settle()
	}
	closeQuietly(c.payload)
	delete(k.open, manifest)
}

// object returns small content that is verified and that neighbours may take, or nil.
func (a *Agent) object(sum firmware.Digest) []byte {
	b := a.trust.Object(sum)
	if b == nil && a.keeper != nil {
		b = a.keeper.store.Object(sum)
	}
	return b
}
