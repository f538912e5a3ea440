package assemble

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
)

// page is the grain of what is written: smaller writes cost a medium as much.
const page = 4 << 10

// syncEvery is how many bytes are written, or how far what is in place from the beginning grows, between syncs: often enough
// that the last one finds little to do and little is left to prove then, and that a small device does not fill with what
// waits to be written.
const syncEvery = 32 << 20

// each calls do for the chunks of a list, in order, several at once.
func (a *Assembly) each(ctx context.Context, workers int, list []firmware.Chunk, do func(ctx context.Context, c firmware.Chunk) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(workers, len(list)) {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(ctx, list[i]); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// scan finds what the target holds in the right place, of what no seed has. A chunk that repeats counts only when every
// place has it.
func (a *Assembly) scan(ctx context.Context) error {
	return a.each(ctx, a.o.Workers, a.Missing(), func(_ context.Context, c firmware.Chunk) error {
		buf := a.buffers.take()
		defer a.buffers.give(buf)
		for _, i := range a.at[c.ID] {
			// Where nothing was written only zeros can stand: a largest chunk of them, or the end of one.
			zeros := a.isZero(c.ID) || i == len(a.o.Index.Chunks)-1
			if !zeros && a.hollow(a.o.Index.Span(i).Offset, int(c.Size)) || a.read(buf[:c.Size], i) != nil {
				return nil
			}
		}
		a.finish(c.ID, true)
		return nil
	})
}

// fill copies what seeds have and lets the rest be fetched.
func (a *Assembly) fill(ctx context.Context, fetch Fetch, p *proof) error {
	missing := a.Missing()
	local := firmware.MakePlan(a.o.Index, func(id firmware.ChunkID) bool { return a.Has(id) || !a.local(id) }).Missing
	ended := make(chan struct{})
	var following errgroup.Group
	following.Go(func() error { return a.follow(ctx, p, ended) })

	workers := a.o.Workers
	if len(missing) > 0 { // what is fetched keeps one busy, and the proof waits for it more than for copies
		workers = max(1, workers-1)
	}
	g, working := errgroup.WithContext(ctx)
	if len(missing) > 0 {
		g.Go(func() error {
			return fetch(working, missing, func(plain []byte, id firmware.ChunkID) error {
				return a.deliver(plain, id)
			})
		})
	}
	g.Go(func() error {
		return a.each(working, workers, local, func(ctx context.Context, c firmware.Chunk) error { return a.copy(ctx, c) })
	})
	err := g.Wait()
	close(ended)
	if failed := following.Wait(); err == nil {
		err = failed
	}
	return err
}

// follow keeps the medium busy while chunks are worked on, and proves what is in place behind them.
func (a *Assembly) follow(ctx context.Context, p *proof, ended <-chan struct{}) error {
	for {
		select {
		case <-a.due:
			a.mu.Lock()
			front := a.front()
			a.mu.Unlock()
			if err := a.o.Target.Sync(); err != nil {
				return fmt.Errorf("assemble: sync: %w", err)
			}
			if front > p.at && p.err == nil && !a.o.Digest.IsZero() {
				p.err = a.extend(ctx, p, front)
			}
		case <-ended:
			return nil
		}
	}
}

// copy brings a chunk from a seed to its places. One that no seed gives is noted and no error: it can be fetched.
func (a *Assembly) copy(ctx context.Context, c firmware.Chunk) error {
	buf := a.buffers.take()
	defer a.buffers.give(buf)
	plain, ok := a.fromSeed(ctx, c, buf)
	if !ok {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.failed[c.ID] = true
		return nil
	}
	if err := a.place(plain, c.ID); err != nil {
		return err
	}
	a.finish(c.ID, true)
	return nil
}

// appender is a Source that can use a buffer again, as firmware.Seed does.
type appender interface {
	AppendChunk(ctx context.Context, dst []byte, id firmware.ChunkID) ([]byte, error)
}

// fromSeed returns a chunk that a seed has, verified as every Source does, perhaps in buf.
func (a *Assembly) fromSeed(ctx context.Context, c firmware.Chunk, buf []byte) ([]byte, bool) {
	if a.isZero(c.ID) {
		clear(buf[:c.Size])
		return buf[:c.Size], true
	}
	for _, s := range a.o.Seeds {
		if !s.Has(c.ID) {
			continue
		}
		var plain []byte
		var err error
		if into, ok := s.(appender); ok {
			plain, err = into.AppendChunk(ctx, buf[:0], c.ID)
		} else {
			plain, err = s.Chunk(ctx, c.ID)
		}
		if err == nil && len(plain) == int(c.Size) {
			return plain, true
		}
	}
	return nil, false
}

// deliver verifies a chunk that was handed over and brings it to its places.
func (a *Assembly) deliver(plain []byte, id firmware.ChunkID) error {
	if _, ok := a.at[id]; !ok {
		return fmt.Errorf("assemble: nobody asked for %s: %w", id, firmware.ErrNotFound)
	}
	if a.Has(id) {
		return nil
	}
	if a.o.Index.Hash.Sum(plain) != id {
		return fmt.Errorf("assemble: %s: %w", id, firmware.ErrCorrupt)
	}
	if err := a.place(plain, id); err != nil {
		return err
	}
	a.finish(id, false)
	return nil
}

// place writes a verified chunk wherever the index has it and it does not stand yet.
func (a *Assembly) place(plain []byte, id firmware.ChunkID) error {
	buf := a.buffers.take()
	defer a.buffers.give(buf)
	for _, i := range a.at[id] { // an index may give one chunk several sizes; then it is no index of any payload
		if int(a.o.Index.Chunks[i].Size) != len(plain) {
			return fmt.Errorf("assemble: chunk %d is given %d bytes by the index and has %d: %w",
				i, a.o.Index.Chunks[i].Size, len(plain), firmware.ErrCorrupt)
		}
		n, err := a.write(plain, a.o.Index.Span(i).Offset, buf[:len(plain)])
		a.wrote(n)
		if err != nil {
			return fmt.Errorf("assemble: write chunk %d: %w", i, err)
		}
	}
	return nil
}

// write gives the target those pages of plain that it does not hold at off, and returns how many bytes it took. What
// cannot be read is written: that may mend it.
func (a *Assembly) write(plain []byte, off int64, stands []byte) (written int64, err error) {
	if a.hollow(off, len(plain)) {
		clear(stands)
	} else {
		got, _ := a.o.Target.ReadAt(stands, off)
		stands = stands[:got]
	}
	if bytes.Equal(plain, stands) {
		return 0, nil
	}
	from := -1 // where the run that differs began; none
	flush := func(to int) error {
		if from < 0 {
			return nil
		}
		n, err := a.o.Target.WriteAt(plain[from:to], off+int64(from))
		written += int64(n)
		from = -1
		return err
	}
	for at := 0; at < len(plain); {
		end := min(len(plain), at+page-int((off+int64(at))%page))
		same := end <= len(stands) && bytes.Equal(plain[at:end], stands[at:end])
		if same {
			if err := flush(at); err != nil {
				return written, err
			}
		} else if from < 0 {
			from = at
		}
		at = end
	}
	return written, flush(len(plain))
}
