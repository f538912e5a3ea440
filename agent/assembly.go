package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/waxwing-ota/waxwing/agent/install"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/agent/update"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
)

// meter counts the bytes of one attempt across its jobs. base and mark are the origin's bytes before this process and the
// client's count when the attempt began.
type meter struct {
	agent      *Agent
	base, mark int64

	mu            sync.Mutex
	peers, served int64
}

func (m *meter) add(t Traffic) {
	m.mu.Lock()
	m.peers += t.Peers
	m.served += t.Served
	m.mu.Unlock()
}

func (m *meter) bytes(s assemble.Stats) protocol.Bytes {
	m.mu.Lock()
	defer m.mu.Unlock()
	return protocol.Bytes{
		Total: s.Total, Done: s.Done, Reused: s.Reused, Peers: m.peers, Served: m.served,
		Origin: m.base + m.agent.origin.Bytes() - m.mark,
	}
}

// assemble writes the payload into the slot that does not run and proves it.
func (a *Agent) assemble(ctx context.Context, e update.Assemble, m *meter) update.Event {
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
	stats, err := a.fill(ctx, e, p, place, m)
	if err := errors.Join(err, place.Close()); err != nil {
		f := judged(e.Job, err)
		if errors.Is(err, errStorage) || errors.Is(err, firmware.ErrCorrupt) && f.Reason == protocol.ReasonDownload {
			f.Reason = protocol.ReasonStorage
		}
		return f
	}
	held := install.Held{
		Product: p.manifest.Product, Version: p.manifest.Version, Counter: p.manifest.Counter,
		Manifest: e.Target.Release.SHA256, Component: p.component.Name, Size: p.component.Size,
	}
	if err := a.slots.Finish(ctx, e.Slot, held, p.index); err != nil {
		return failed(e.Job, protocol.ReasonStorage, err, true)
	}
	a.share(e.Slot)
	return update.Assembled{Job: e.Job, Bytes: m.bytes(stats)}
}

func (a *Agent) fill(ctx context.Context, e update.Assemble, p *plan, place install.Place, m *meter) (assemble.Stats, error) {
	var seeds []firmware.Source
	if payload, index, err := a.slots.Open(a.slot); err == nil {
		defer payload.Close()
		seeds = append(seeds, firmware.NewSeed(index, payload))
	}
	told := int64(0)
	job := assemble.New(assemble.Options{
		Index: p.index, Digest: p.component.SHA256, Target: blamed{place}, Seeds: seeds,
		Progress: func(s assemble.Stats) {
			if s.Done-told >= max(s.Total/50, 1) { // the loop need not hear of every chunk
				told = s.Done
				a.send(ctx, update.Progressed{Job: e.Job, Bytes: m.bytes(s)})
			}
		},
	})
	swarm := Swarm{ID: indexOf(p.index), Index: p.index, Have: job}
	stats, err := job.Run(ctx, func(ctx context.Context, missing []firmware.Chunk, deliver assemble.Deliver) error {
		if len(missing) == 0 {
			return nil
		}
		traffic, err := a.neighbors.Fetch(ctx, swarm, missing, deliver)
		m.add(traffic)
		return err
	})
	if err != nil {
		a.send(ctx, update.Progressed{Job: e.Job, Bytes: m.bytes(stats)}) // what is in place counts as progress
	}
	return stats, err
}

// share offers what a slot holds to the neighbours.
func (a *Agent) share(slot string) {
	payload, index, err := a.slots.Open(slot)
	if err != nil {
		return // nothing known lies there
	}
	stop := a.neighbors.Share(indexOf(index), index, firmware.NewSeed(index, payload))
	a.unshare(slot)
	a.sharing.Lock()
	defer a.sharing.Unlock()
	a.shares[slot] = func() { stop(); closeQuietly(payload) }
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
