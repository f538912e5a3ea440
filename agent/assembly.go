package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/waxwing-ota/waxwing/agent/install"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/agent/update"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
)

// meter counts the bytes of one attempt, across jobs and processes. The parts' own counters run since the process began;
// base is what was counted before, mark what the counters said then.
type meter struct {
	origin, served struct{ base, mark int64 }
}

// start takes what was counted before and the counters of now.
func (m *meter) start(a *Agent, b protocol.Bytes) {
	m.origin.base, m.origin.mark = b.Origin, a.origin.Bytes()
	_, served := a.neighbors.Sight()
	m.served.base, m.served.mark = b.Served, served
}

// bytes returns the counts of now.
func (m *meter) bytes(a *Agent, s assemble.Stats, t *tally) protocol.Bytes {
	return protocol.Bytes{
		Total: s.Total, Done: s.Done, Reused: s.Reused, Peers: t.peers(),
		Origin: m.origin.base + a.origin.Bytes() - m.origin.mark, Served: m.serves(a),
	}
}

func (m *meter) serves(a *Agent) int64 {
	_, served := a.neighbors.Sight()
	return m.served.base + served - m.served.mark
}

// assembleWorkers is how many chunks are worked on at once. A slot is read and written about as fast as one core hashes, and
// each worker costs most of a megabyte.
const assembleWorkers = 1

// assemble writes the payload into the slot that does not run and proves it.
func (a *Agent) assemble(ctx context.Context, e update.Assemble, m meter, t *tally) update.Event {
	p, err := a.plan(ctx, e.Target)
	if err != nil {
		return judged(e.Job, err)
	}
	a.unshare(e.Slot)
	place, err := a.slots.Prepare(ctx, e.Slot, a.slot, p.component.Size)
	if err != nil {
		f := judged(e.Job, err)
		if f.Reason == protocol.ReasonDownload {
			f.Reason = protocol.ReasonStorage
		}
		return f
	}
	bytes, err := a.fill(ctx, e, p, place, m, t)
	if err := errors.Join(err, place.Close()); err != nil {
		f := judged(e.Job, err)
		if errors.Is(err, errStorage) || errors.Is(err, firmware.ErrCorrupt) && f.Reason == protocol.ReasonDownload {
			f.Reason = protocol.ReasonStorage
		}
		return f
	}
	held := install.Held{
		Product: p.manifest.Product, Version: p.manifest.Version, Counter: p.manifest.Counter,
		Manifest: e.Target.Release.SHA256, Component: p.component.Name, Size: p.component.Size, Payload: p.component.SHA256,
	}
	if err := a.slots.Finish(ctx, e.Slot, held, p.index); err != nil {
		return failed(e.Job, protocol.ReasonStorage, err, true)
	}
	a.passed.save()
	a.settle()
	a.share(e.Slot)
	return update.Assembled{Job: e.Job, Bytes: bytes, Sources: t.sources()}
}

// fill assembles into an open slot.
func (a *Agent) fill(ctx context.Context, e update.Assemble, p *plan, place install.Place, m meter, t *tally) (protocol.Bytes, error) {
	var seeds []firmware.Source
	if a.running != nil {
		seeds = append(seeds, &suspect{Seed: a.running.seed, log: a.Log, slot: a.slot})
	}
	from := a.remote(ctx, p)
	var told atomic.Int64
	job := assemble.New(assemble.Options{
		Index: p.index, Digest: p.component.SHA256, Target: blamed{place}, Seeds: seeds, Workers: assembleWorkers,
		Progress: func(s assemble.Stats) {
			if s.Done-told.Load() >= max(s.Total/50, 1) { // the loop need not hear of every chunk
				told.Store(s.Done)
				a.send(ctx, update.Progressed{Job: e.Job, Bytes: m.bytes(a, s, t), Sources: t.sources()})
			}
		},
	})
	swarm := a.swarm(p, job, from)
	swarm.Came = t.came
	stats, err := job.Run(ctx, func(ctx context.Context, missing []firmware.Chunk, deliver assemble.Deliver) error {
		if len(missing) == 0 {
			return nil
		}
		return a.fetch(ctx, swarm, missing, deliver)
	})
	bytes := m.bytes(a, stats, t)
	if err != nil {
		a.send(ctx, update.Progressed{Job: e.Job, Bytes: bytes, Sources: t.sources()}) // what is in place counts as progress
	}
	return bytes, err
}

// content is what a slot holds, open to read from.
type content struct {
	held    install.Held
	payload install.Payload
	index   *firmware.Index
	seed    *firmware.Seed
}

// share offers what a slot holds to the neighbours and returns it; nil when nothing known lies there. It stays open until
// unshare.
func (a *Agent) share(slot string) *content {
	held, err := a.slots.Holds(slot)
	if err != nil {
		return nil
	}
	payload, index, err := a.slots.Open(slot)
	if err != nil {
		a.Log.Warn("a slot cannot be read from; nothing of it is used again", "slot", slot, "error", err)
		return nil
	}
	c := &content{held: held, payload: payload, index: index, seed: firmware.NewSeed(index, payload)}
	stop := a.neighbors.Share(a.passed.on(held.Payload, Swarm{ID: indexOf(index), Index: index, Have: c.seed}))
	a.unshare(slot)
	a.sharing.Lock()
	defer a.sharing.Unlock()
	a.shares[slot] = func() { stop(); closeQuietly(payload) }
	return c
}

func (a *Agent) unshare(slot string) {
	a.sharing.Lock()
	defer a.sharing.Unlock()
	if stop := a.shares[slot]; stop != nil {
		stop()
		delete(a.shares, slot)
	}
}

func (a *Agent) unshareAll() {
	for _, s := range a.slots.Names() {
		a.unshare(s)
	}
}

// closeQuietly closes what was only read from.
func closeQuietly(c io.Closer) { _ = c.Close() }

// blamed marks the errors of a slot as the slot's.
type blamed struct{ install.Place }

// WriteAt implements assemble.Target.
func (b blamed) WriteAt(p []byte, off int64) (int, error) {
	n, err := b.Place.WriteAt(p, off)
	if err != nil {
		err = fmt.Errorf("%w: %w", errStorage, err)
	}
	return n, err
}

// Sync implements assemble.Target.
func (b blamed) Sync() error {
	if err := b.Place.Sync(); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	return nil
}
