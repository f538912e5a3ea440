// Package assemble puts a payload together in place: into the inactive slot, from chunks that the device already has and
// chunks that somebody hands over.
//
//	scan     what the target already holds, chunk by chunk, is kept      (a killed assembly goes on; an old image helps)
//	copy     chunks that a seed has are copied                           ┐ at the same time
//	fetch    the others are asked for and written as they come           ┘
//	prove    sync, read everything back, compare with the payload's digest
//
// The target is its own journal: nothing else is written, so there is nothing that a power cut could tear. Every chunk is
// verified before it is written and an [Assembly] is a firmware.Source of what is verified in the target, so neighbours
// can be served while it grows. Memory is a few chunks and the index, whatever the size of the payload.
package assemble

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Target is where the payload goes. Reads may come at the same time as writes elsewhere in it.
type Target interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes what was written durable, and forgets caches where it can, so that the next read comes from the medium.
	Sync() error
}

// Stats counts plain bytes of the payload.
type Stats struct {
	Total   int64 // of the payload
	Done    int64 // verified in the target
	Reused  int64 // of Done: was in the target or came from a seed
	Fetched int64 // of Done: was handed over
}

// Options configure New.
type Options struct {
	Index    *firmware.Index
	Digest   firmware.Digest   // of the whole payload
	Target   Target            //
	Seeds    []firmware.Source // asked in this order
	Progress func(Stats)       // called after each chunk, one call at a time; may be nil
}

// Deliver takes one chunk. It verifies it; an error that matches firmware.ErrCorrupt or ErrNotFound blames the giver, any
// other the target.
type Deliver func(plain []byte, id firmware.ChunkID) error

// Fetch hands over the missing chunks, in any order and from any goroutine, and returns when all are delivered or none can
// be any more.
type Fetch func(ctx context.Context, missing []firmware.Chunk, deliver Deliver) error

// Assembly is one payload on its way into one target.
type Assembly struct {
	o  Options
	at map[firmware.ChunkID][]int // positions of each chunk in the index

	mu    sync.Mutex
	done  map[firmware.ChunkID]int // verified: a position that holds it
	stats Stats
}

// New prepares an assembly; nothing is read or written yet.
func New(o Options) *Assembly {
	a := &Assembly{o: o, at: make(map[firmware.ChunkID][]int, len(o.Index.Chunks)), done: map[firmware.ChunkID]int{}}
	for i, c := range o.Index.Chunks {
		a.at[c.ID] = append(a.at[c.ID], i)
	}
	a.stats.Total = o.Index.Size()
	return a
}

// Run assembles. It may be run again after an error: what is in place stays. Errors match firmware.ErrCorrupt when the
// target does not keep what is written to it.
func (a *Assembly) Run(ctx context.Context, fetch Fetch) (Stats, error) {
	if err := a.scan(ctx); err != nil {
		return a.Stats(), err
	}
	// A seed may turn out to lack what it promised; what it failed to give is fetched in the second round.
	for range 2 {
		if err := a.fill(ctx, fetch); err != nil {
			return a.Stats(), err
		}
	}
	if lack := firmware.MakePlan(a.o.Index, a.Has); len(lack.Missing) > 0 {
		return a.Stats(), fmt.Errorf("assemble: %d chunks were not handed over: %w", len(lack.Missing), firmware.ErrNotFound)
	}
	return a.Stats(), a.prove(ctx)
}

// Stats returns the counts so far.
func (a *Assembly) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Missing returns what neither the target, as far as it was scanned, nor a seed promises to have.
func (a *Assembly) Missing() []firmware.Chunk {
	return firmware.MakePlan(a.o.Index, func(id firmware.ChunkID) bool { return a.Has(id) || a.seed(id) != nil }).Missing
}

// Has implements firmware.Source.
func (a *Assembly) Has(id firmware.ChunkID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.done[id]
	return ok
}

// Chunk implements firmware.Source.
func (a *Assembly) Chunk(_ context.Context, id firmware.ChunkID) ([]byte, error) {
	a.mu.Lock()
	i, ok := a.done[id]
	a.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("assemble: %s: %w", id, firmware.ErrNotFound)
	}
	return a.read(i)
}

func (a *Assembly) read(i int) ([]byte, error) {
	span := a.o.Index.Span(i)
	b := make([]byte, span.Size)
	if _, err := a.o.Target.ReadAt(b, span.Offset); err != nil {
		return nil, fmt.Errorf("assemble: chunk %d at %d: %w: %w", i, span.Offset, firmware.ErrCorrupt, err)
	}
	if firmware.Sum(b) != a.o.Index.Chunks[i].ID {
		return nil, fmt.Errorf("assemble: chunk %d at %d: %w", i, span.Offset, firmware.ErrCorrupt)
	}
	return b, nil
}

func (a *Assembly) seed(id firmware.ChunkID) firmware.Source {
	for _, s := range a.o.Seeds {
		if s.Has(id) {
			return s
		}
	}
	return nil
}

// scan finds what the target holds in the right place. A chunk that repeats counts only when every place has it.
func (a *Assembly) scan(ctx context.Context) error {
	for i, c := range a.o.Index.Chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if places := a.at[c.ID]; places[0] == i && !a.Has(c.ID) && a.holds(places) {
			a.finish(c.ID, true)
		}
	}
	return nil
}

func (a *Assembly) holds(places []int) bool {
	for _, i := range places {
		if _, err := a.read(i); err != nil {
			return false
		}
	}
	return true
}

func (a *Assembly) fill(ctx context.Context, fetch Fetch) error {
	missing := a.Missing()
	plan := firmware.MakePlan(a.o.Index, a.Has)
	g, ctx := errgroup.WithContext(ctx)
	if len(missing) > 0 {
		g.Go(func() error {
			return fetch(ctx, missing, func(plain []byte, id firmware.ChunkID) error { return a.place(plain, id, false) })
		})
	}
	failed := map[firmware.ChunkID]bool{}
	g.Go(func() error {
		for _, c := range plan.Missing {
			s := a.seed(c.ID)
			if s == nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			plain, err := s.Chunk(ctx, c.ID)
			if err != nil {
				failed[c.ID] = true
				continue
			}
			if err := a.place(plain, c.ID, true); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if len(failed) > 0 {
		a.o.Seeds = without(a.o.Seeds, failed)
	}
	return nil
}

// place verifies a chunk and writes it wherever the index has it.
func (a *Assembly) place(plain []byte, id firmware.ChunkID, reused bool) error {
	places, ok := a.at[id]
	if !ok {
		return fmt.Errorf("assemble: nobody asked for %s: %w", id, firmware.ErrNotFound)
	}
	if a.Has(id) {
		return nil
	}
	if firmware.Sum(plain) != id {
		return fmt.Errorf("assemble: %s: %w", id, firmware.ErrCorrupt)
	}
	for _, i := range places {
		if _, err := a.o.Target.WriteAt(plain, a.o.Index.Span(i).Offset); err != nil {
			return fmt.Errorf("assemble: write chunk %d: %w", i, err)
		}
	}
	a.finish(id, reused)
	return nil
}

func (a *Assembly) finish(id firmware.ChunkID, reused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, twice := a.done[id]; twice {
		return
	}
	places := a.at[id]
	a.done[id] = places[0]
	n := int64(len(places)) * int64(a.o.Index.Chunks[places[0]].Size)
	a.stats.Done += n
	if reused {
		a.stats.Reused += n
	} else {
		a.stats.Fetched += n
	}
	if a.o.Progress != nil {
		a.o.Progress(a.stats)
	}
}

// prove reads the payload back from the medium. A chunk that did not stay is forgotten, so that another Run mends it.
func (a *Assembly) prove(ctx context.Context) error {
	if err := a.o.Target.Sync(); err != nil {
		return fmt.Errorf("assemble: sync: %w", err)
	}
	whole := sha256.New()
	for i, c := range a.o.Index.Chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := a.read(i)
		if err != nil {
			a.forget(c.ID)
			return fmt.Errorf("read back: %w", err)
		}
		whole.Write(b)
	}
	if sum := firmware.Digest(whole.Sum(nil)); sum != a.o.Digest {
		return fmt.Errorf("assemble: the payload is %s where the manifest says %s: %w", sum, a.o.Digest, firmware.ErrCorrupt)
	}
	return nil
}

func (a *Assembly) forget(id firmware.ChunkID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.done, id)
	a.stats.Done -= int64(len(a.at[id])) * int64(a.o.Index.Chunks[a.at[id][0]].Size)
}

// lacking is a source with holes.
type lacking struct {
	firmware.Source
	holes map[firmware.ChunkID]bool
}

func (l lacking) Has(id firmware.ChunkID) bool { return !l.holes[id] && l.Source.Has(id) }

func without(seeds []firmware.Source, holes map[firmware.ChunkID]bool) []firmware.Source {
	out := make([]firmware.Source, len(seeds))
	for i, s := range seeds {
		out[i] = lacking{Source: s, holes: holes}
	}
	return out
}
