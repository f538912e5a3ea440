package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch"
	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

// Remote is the chunks of one payload. It is safe for concurrent use.
type Remote struct {
	o        Options
	requests chan struct{}       // one place for each request under way
	decoders chan *delta.Decoder // those that nobody uses now
	bodies   *semaphore.Weighted // bytes of groups that are fetched or decoded
	index    atomic.Int64
	patch    atomic.Int64
	chunk    atomic.Int64

	mu       sync.Mutex
	pack     *patch.Pack // nil: none, or none that can be used
	front    []byte      // the first bytes of the pack, or all of it
	distinct []firmware.Chunk
	group    map[firmware.ChunkID]int // that carries a chunk
	yields   int                      // groups that gave all that was wanted
	failures int                      // and that did not
}

// Open looks for a pack. That there is none is no error. With any other error the Remote can be used too and fetches whole
// chunks: the error says why patches, which may be there, are not used.
func Open(ctx context.Context, o Options) (*Remote, error) {
	if o.Requests <= 0 {
		o.Requests = 4
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Remote{
		o: o, requests: make(chan struct{}, o.Requests), decoders: make(chan *delta.Decoder, max(o.Decoders, 1)),
		bodies: semaphore.NewWeighted(delta.MaxBody * int64(max(o.Decoders, 1))),
	}
	for range cap(r.decoders) {
		r.decoders <- new(delta.Decoder)
	}
	var err error
	if o.Base != nil && o.Base.SHA256 != o.Target {
		if err = r.look(ctx); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if o.Index != nil {
		r.Use(o.Index)
	}
	if err != nil {
		return r, fmt.Errorf("patches from %s: %w", o.Base.SHA256, err)
	}
	return r, nil
}

// path returns where the pack is.
func (r *Remote) path() string { return patch.Path(r.o.Base.SHA256, r.o.Target) }

// look reads the front of the pack.
func (r *Remote) look(ctx context.Context) error {
	front, err := r.ranged(ctx, 0, patch.HeadSize)
	r.patch.Add(int64(len(front)))
	asked := int64(patch.HeadSize)
	for err == nil {
		var p *patch.Pack
		var need int64
		if p, need, err = patch.ParseHead(front); err != nil {
			break
		}
		if p != nil {
			if p.Base != r.o.Base.SHA256 || p.Target != r.o.Target {
				return fmt.Errorf("the pack is of %s to %s: %w", p.Base, p.Target, firmware.ErrMalformed)
			}
			r.pack, r.front = p, front
			return nil
		}
		if int64(len(front)) < asked {
			return fmt.Errorf("the pack ends after %d bytes: %w", len(front), firmware.ErrMalformed)
		}
		asked = need
		var more []byte
		more, err = r.ranged(ctx, int64(len(front)), need-int64(len(front)))
		r.patch.Add(int64(len(more)))
		front = append(front, more...)
	}
	return err
}

// Traffic returns the counts so far.
func (r *Remote) Traffic() Traffic {
	return Traffic{Index: r.index.Load(), Patch: r.patch.Load(), Chunk: r.chunk.Load()}
}

// Index fetches the target's .caibx as a difference and returns it, with the digest that want has. An error that matches
// ErrNoPack says that there is no difference to be had; after any other the file itself is worth a try too.
func (r *Remote) Index(ctx context.Context, want firmware.File) ([]byte, error) {
	p := r.usable()
	if p == nil {
		return nil, ErrNoPack
	}
	at, size := p.IndexSpan()
	difference, n, err := r.read(ctx, at, size)
	if err != nil {
		r.patch.Add(n)
		return nil, r.broken(fmt.Errorf("index difference: %w", err))
	}
	r.index.Add(size)
	r.patch.Add(n - size) // some of it may have come with the front
	b, err := p.Index(difference, r.o.Base.Index, want.Size)
	if err == nil && firmware.Sum(b) != want.SHA256 {
		err = fmt.Errorf("index difference: it yields another index: %w", firmware.ErrCorrupt)
	}
	if err != nil {
		return nil, err
	}
	x, err := firmware.ParseIndex(b)
	if err != nil {
		return nil, err
	}
	r.Use(x)
	return b, nil
}

// Use tells the index of the target when it came in another way. Without it there are no groups.
func (r *Remote) Use(index *firmware.Index) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.distinct, r.group = index.Distinct(), map[firmware.ChunkID]int{}
	if r.pack == nil {
		return
	}
	if err := r.pack.Check(r.distinct); err != nil {
		r.forsake("it is of another index", err)
		return
	}
	for i, g := range r.pack.Groups {
		for _, n := range g.Chunks {
			r.group[r.distinct[n].ID] = i
		}
	}
}

// Groups returns the numbers, in the target's index, of chunks that come together; nil when there is no pack.
func (r *Remote) Groups() [][]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pack == nil || r.distinct == nil {
		return nil
	}
	groups := make([][]int, len(r.pack.Groups))
	for i, g := range r.pack.Groups {
		groups[i] = g.Chunks
	}
	return groups
}

// usable returns the pack, or nil.
func (r *Remote) usable() *patch.Pack {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pack
}

// broken takes an error of the pack's file: a pack that is gone or cannot be read in parts is not asked for again.
func (r *Remote) broken(err error) error {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNoRange) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forsake("it cannot be read", err)
	return fmt.Errorf("%w: %w", ErrNoPack, err)
}

// forsake drops the pack. The caller holds the lock.
func (r *Remote) forsake(why string, err error) {
	if r.pack != nil {
		r.o.Log.Warn("the pack of patches is not used any more; chunks are fetched whole", "because", why, "error", err)
	}
	r.pack = nil
}

// read returns a part of the pack, and how many bytes of it came over the line now.
func (r *Remote) read(ctx context.Context, offset, size int64) (b []byte, n int64, err error) {
	b, offset, size = r.known(offset, size)
	if size == 0 {
		return b, 0, nil
	}
	more, err := r.ranged(ctx, offset, size)
	if errors.Is(err, ErrNoRange) {
		return r.whole(ctx, offset-int64(len(b)), size+int64(len(b)))
	}
	if err == nil && int64(len(more)) != size {
		err = fmt.Errorf("the pack ends at %d: %w", offset+int64(len(more)), firmware.ErrMalformed)
	}
	return append(b, more...), int64(len(more)), err
}

// known returns what was read before of a part, and what remains to be read.
func (r *Remote) known(offset, size int64) (b []byte, at, left int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if have := int64(len(r.front)); offset < have {
		b = r.front[offset:min(offset+size, have):min(offset+size, have)]
	}
	return b, offset + int64(len(b)), size - int64(len(b))
}

// whole reads the pack at once, where it cannot be had in parts.
func (r *Remote) whole(ctx context.Context, offset, size int64) ([]byte, int64, error) {
	p := r.usable()
	if p == nil || p.Size > r.o.Whole {
		return nil, 0, ErrNoRange
	}
	if err := take(ctx, r.requests); err != nil {
		return nil, 0, err
	}
	defer give(r.requests)
	if b, _, left := r.known(offset, size); left == 0 {
		return b, 0, nil // another one was faster
	}
	all, err := r.o.Files.Fetch(ctx, r.path(), p.Size)
	if err == nil && int64(len(all)) != p.Size {
		err = fmt.Errorf("the pack has %d bytes of %d: %w", len(all), p.Size, firmware.ErrMalformed)
	}
	if err != nil {
		return nil, int64(len(all)), err
	}
	r.mu.Lock()
	r.front = all
	r.mu.Unlock()
	return all[offset : offset+size : offset+size], int64(len(all)), nil
}

func (r *Remote) ranged(ctx context.Context, offset, size int64) ([]byte, error) {
	if err := take(ctx, r.requests); err != nil {
		return nil, err
	}
	defer give(r.requests)
	b, err := r.o.Files.Range(ctx, r.path(), offset, size)
	if err == nil && int64(len(b)) > size {
		err = fmt.Errorf("%d bytes where %d were asked for: %w", len(b), size, firmware.ErrTooLarge)
	}
	return b, err
}

// take waits for a place.
func take(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func give(places chan struct{}) { <-places }
