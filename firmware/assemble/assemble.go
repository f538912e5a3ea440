// Package assemble puts a payload together in place: into the inactive slot, from chunks that the device already has and
// chunks that somebody hands over.
//
//	scan     of what no seed has, what the target already holds is kept         (a killed assembly goes on)
//	copy     chunks that a seed has, in the order of the slot, several at once  ┐
//	fetch    the others are asked for and written as they come                  │ at the same time
//	prove    sync, read back what is in place, hash it in the order of the slot ┘
//	compare  with the payload's digest, when all is in place, synced and read back once
//
// The target is its own journal: nothing else is written, so there is nothing that a power cut could tear. Every chunk is
// verified before it is written and an [Assembly] is a firmware.Source of what is verified in the target, so neighbours
// can be served while it grows.
//
// # What is not written
//
// Before a chunk is written its place is read, and only the pages of 4 KiB that differ are: an old image in the slot wears
// the flash by the difference, a run of zeros onto a fresh sparse file stays a hole. A chunk of zeros as large as chunks
// can be is never asked for.
//
// # Why one digest is proof enough
//
// The manifest signs the digest of the whole payload. When what is read back from the medium has that digest, every byte is
// the one that was signed, and every chunk has its id, because each was verified against the index before it was written.
// Only when the digest differs are the chunks hashed one by one, to find those that did not stay and forget them, so that
// another Run mends just these.
//
// # Memory
//
// A few chunks for each worker and the index, whatever the size of the payload: three buffers of the index's largest chunk
// for each, and a quarter of a megabyte to prove.
package assemble

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Target is where the payload goes. Reads may come at the same time as writes elsewhere in it.
type Target interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes what was written durable, and forgets caches where it can, so that the next read comes from the medium. It
	// may come at the same time as writes.
	Sync() error
}

// Stats counts plain bytes of the payload.
type Stats struct {
	Total   int64 // of the payload
	Done    int64 // verified in the target
	Reused  int64 // of Done: was in the target or came from a seed
	Fetched int64 // of Done: was handed over
	Written int64 // given to the target's WriteAt: what differed from what stood there
}

// Options configure New.
type Options struct {
	Index *firmware.Index
	// Digest of the whole payload. It may be zero when nobody told it; then the ids of the index are the proof.
	Digest   firmware.Digest
	Target   Target
	Seeds    []firmware.Source // asked in this order
	Progress func(Stats)       // called after each chunk, one call at a time; may be nil
	Workers  int               // how many chunks are worked on at once; 0: as many as processors
}

// Deliver takes one chunk. It verifies it; an error that matches firmware.ErrCorrupt or ErrNotFound blames the giver, any
// other the target.
type Deliver func(plain []byte, id firmware.ChunkID) error

// Fetch hands over the missing chunks, in any order and from any goroutine, and returns when all are delivered or none can
// be any more.
type Fetch func(ctx context.Context, missing []firmware.Chunk, deliver Deliver) error

// Assembly is one payload on its way into one target.
type Assembly struct {
	o       Options
	at      map[firmware.ChunkID][]int // positions of each chunk in the index
	zero    firmware.ChunkID           // of the largest chunk, when it is nothing but zeros
	buffers *buffers
	due     chan struct{} // there is something to sync, and perhaps to prove

	mu     sync.Mutex
	done   map[firmware.ChunkID]int  // verified: a position that holds it
	failed map[firmware.ChunkID]bool // no seed gave it, whatever they promised
	stats  Stats
	dirty  int64 // bytes written since the last sync was asked for
	synced int64 // where the front was then
	whole  int   // chunks of the index, from its first, that are done
}

// New prepares an assembly; nothing is read or written yet.
func New(o Options) *Assembly {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	a := &Assembly{
		o: o, at: make(map[firmware.ChunkID][]int, len(o.Index.Chunks)),
		due: make(chan struct{}, 1), done: map[firmware.ChunkID]int{}, failed: map[firmware.ChunkID]bool{},
	}
	largest := 0
	for i, c := range o.Index.Chunks {
		a.at[c.ID] = append(a.at[c.ID], i)
		largest = max(largest, int(c.Size))
	}
	a.buffers = newBuffers(3*o.Workers, largest)
	if largest == int(o.Index.Chunking.Max) {
		a.zero = o.Index.Hash.Sum(make([]byte, largest))
	}
	a.stats.Total = o.Index.Size()
	return a
}

// Run assembles. It may be run again after an error: what is in place stays. Errors match firmware.ErrCorrupt when the
// target does not keep what is written to it.
func (a *Assembly) Run(ctx context.Context, fetch Fetch) (Stats, error) {
	p := newProof()
	// A seed may turn out to lack what it promised; what it failed to give is looked for and fetched in the second round.
	for range 2 {
		if err := a.scan(ctx); err != nil {
			return a.Stats(), err
		}
		if err := a.fill(ctx, fetch, p); err != nil {
			return a.Stats(), err
		}
	}
	if lack := firmware.MakePlan(a.o.Index, a.Has); len(lack.Missing) > 0 {
		return a.Stats(), fmt.Errorf("assemble: %d chunks were not handed over: %w", len(lack.Missing), firmware.ErrNotFound)
	}
	err := a.prove(ctx, p)
	return a.Stats(), err
}

// Stats returns the counts so far.
func (a *Assembly) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Missing returns what neither the target, as far as it was scanned, nor a seed promises to have.
func (a *Assembly) Missing() []firmware.Chunk {
	return firmware.MakePlan(a.o.Index, func(id firmware.ChunkID) bool { return a.Has(id) || a.local(id) }).Missing
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
	b := make([]byte, a.o.Index.Chunks[i].Size)
	return b, a.read(b, i)
}

// read fills b with chunk i as the target holds it, verified.
func (a *Assembly) read(b []byte, i int) error {
	off := a.o.Index.Span(i).Offset
	if n, err := a.o.Target.ReadAt(b, off); n < len(b) {
		return fmt.Errorf("assemble: chunk %d at %d: %w: %w", i, off, firmware.ErrCorrupt, err)
	}
	if a.o.Index.Hash.Sum(b) != a.o.Index.Chunks[i].ID {
		return fmt.Errorf("assemble: chunk %d at %d: %w", i, off, firmware.ErrCorrupt)
	}
	return nil
}

// local reports whether a seed promises the chunk, or it is known by heart.
func (a *Assembly) local(id firmware.ChunkID) bool {
	a.mu.Lock()
	failed := a.failed[id]
	a.mu.Unlock()
	if failed {
		return false
	}
	for _, s := range a.o.Seeds {
		if s.Has(id) {
			return true
		}
	}
	return a.isZero(id)
}

func (a *Assembly) isZero(id firmware.ChunkID) bool { return id == a.zero && !id.IsZero() }

func (a *Assembly) finish(id firmware.ChunkID, reused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, twice := a.done[id]; twice {
		return
	}
	places := a.at[id]
	a.done[id] = places[0]
	n := a.weight(id)
	a.stats.Done += n
	if reused {
		a.stats.Reused += n
	} else {
		a.stats.Fetched += n
	}
	a.nudge()
	if a.o.Progress != nil {
		a.o.Progress(a.stats)
	}
}

// forget takes back that the target holds a chunk.
func (a *Assembly) forget(id firmware.ChunkID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, done := a.done[id]; done {
		delete(a.done, id)
		a.whole = min(a.whole, a.at[id][0])
		a.stats.Done -= a.weight(id)
	}
}

// weight is how many bytes of the payload a chunk makes up.
func (a *Assembly) weight(id firmware.ChunkID) int64 {
	places := a.at[id]
	return int64(len(places)) * int64(a.o.Index.Chunks[places[0]].Size)
}
