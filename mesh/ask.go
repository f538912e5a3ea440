package mesh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// fromPeer asks a neighbour for a chunk.
func (f *fetch) fromPeer(ctx context.Context, id string, at netip.AddrPort, n int) error {
	plain, err := f.m.client.Chunk(ctx, at, f.chunks[n])
	if err == nil {
		f.peers.Add(int64(len(plain)))
		err = f.deliver(plain, f.chunks[n].ID)
		if err != nil && !errors.Is(err, firmware.ErrCorrupt) {
			return err
		}
	}
	if err != nil {
		lost := because(err)
		lost.Chunk, lost.From = n, id
		return f.say(ctx, lost)
	}
	f.came(Delivery{From: id, Chunks: 1, Bytes: int64(len(plain))})
	return f.say(ctx, swarm.Got{Chunk: n})
}

// came tells the taker what a request brought.
func (f *fetch) came(d Delivery) {
	if f.s.Came != nil && d.Chunks > 0 {
		f.s.Came(d)
	}
}

// because says what an error of a neighbour means.
func because(err error) swarm.Lost {
	var late net.Error
	return swarm.Lost{
		Slow:  errors.As(err, &late) && late.Timeout(),
		Gone:  errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH),
		Wrong: errors.Is(err, firmware.ErrCorrupt), Absent: errors.Is(err, exchange.ErrNotTrading),
	}
}

// batch is chunks that were asked for at once.
type batch struct {
	f      *fetch
	chunks []firmware.Chunk

	mu    sync.Mutex
	lack  map[firmware.ChunkID]int
	fatal error // of the taker
}

func (f *fetch) batch(numbers []int) *batch {
	b := &batch{f: f, chunks: make([]firmware.Chunk, len(numbers)), lack: make(map[firmware.ChunkID]int, len(numbers))}
	for i, n := range numbers {
		b.chunks[i] = f.chunks[n]
		b.lack[f.chunks[n].ID] = n
	}
	return b
}

// take returns the Deliver of a batch: what comes counts at once, whatever becomes of the rest. It may be called from several
// goroutines.
func (b *batch) take(ctx context.Context) Deliver {
	return func(plain []byte, id firmware.ChunkID) error {
		b.mu.Lock()
		n, wanted := b.lack[id]
		delete(b.lack, id)
		b.mu.Unlock()
		if !wanted {
			return nil
		}
		err := b.f.deliver(plain, id)
		if err == nil {
			return b.f.say(ctx, swarm.Got{Chunk: n})
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.lack[id] = n
		if !errors.Is(err, firmware.ErrCorrupt) {
			b.fatal = err
		}
		return err
	}
}

// left returns what did not come, ascending, and the taker's error.
func (b *batch) left() ([]int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Values(b.lack)), b.fatal
}

// fromOrigin asks for chunks in one request.
func (f *fetch) fromOrigin(ctx context.Context, e swarm.FromOrigin) error {
	b := f.batch(e.Chunks)
	n, err := f.s.Origin.Fetch(ctx, b.chunks, b.take(ctx))
	f.origin.Add(n)
	left, fatal := b.left()
	f.came(Delivery{Why: e.Why, Chunks: len(e.Chunks) - len(left), Bytes: n})
	switch {
	case fatal != nil:
		return fatal
	case len(left) == 0:
		return f.say(ctx, keeps{})
	case err == nil:
		err = fmt.Errorf("%d chunks did not come: %w", len(left), firmware.ErrNotFound)
	}
	return f.say(ctx, failedOrigin{left, fmt.Errorf("origin: %w", err)})
}

// patchFromPeer asks a neighbour for the patch of a group. One that gives another than it should is no liar for that: it may
// have another base.
func (f *fetch) patchFromPeer(ctx context.Context, e swarm.PatchFromPeer, at netip.AddrPort) error {
	b := f.batch(e.Chunks)
	var n int
	err := f.s.Patched(ctx, e.Group, b.chunks, b.take(ctx), func(ctx context.Context, size int64) ([]byte, error) {
		body, err := f.m.client.Patch(ctx, at, f.s.ID, f.core.Pack().ID, e.Group, size)
		n = len(body)
		f.peers.Add(int64(n))
		return body, err
	})
	left, fatal := b.left()
	f.came(Delivery{From: e.Peer, Chunks: len(e.Chunks) - len(left), Bytes: int64(n)})
	switch {
	case fatal != nil:
		return fatal
	case len(left) == 0:
		return f.say(ctx, keeps{})
	}
	f.m.o.Log.Debug("a neighbour's patch is of no use; its chunks are taken", "neighbor", e.Peer, "group", e.Group, "because", err)
	for _, n := range left {
		lost := because(err)
		lost.Chunk, lost.From, lost.Patch = n, e.Peer, true
		if err := f.say(ctx, lost); err != nil {
			return err
		}
	}
	return nil
}
