// Package build turns an image into what a repository holds: chunks in a store and the index that joins them.
//
//	read once ─► cut ─┬─► SHA-256 of the whole            one goroutine, in order
//	                  └─► SHA-256, compress, put          one goroutine a core, new chunks only
//	                                     └─► commit       one goroutine, now and then, and at the end
//
// The image is read once, front to back, and may be larger than memory: at most a fixed number of chunks are in flight,
// each in a buffer that is used again. A chunk that the store holds already is neither compressed nor written. Of the
// chunks that are nothing but zeros only the first is; the others are known by their looks, and those in a hole of a sparse
// file are not even read.
//
// Durability is had in batches where the store can ([Batcher]): when [Payload] returns, all chunks are durable, so the index
// and the metadata that name them may be published.
package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/chunker"
)

// ErrEmpty says that an image has no bytes.
var ErrEmpty = errors.New("the image is empty")

// Chunks is where chunks rest. It is used by several goroutines at once.
type Chunks interface {
	// Size returns the length of a stored frame; the error matches fs.ErrNotExist when the chunk is not there.
	Size(ctx context.Context, id firmware.ChunkID) (int64, error)
	// Put stores a frame durably. The bytes may change when it has returned.
	Put(ctx context.Context, id firmware.ChunkID, frame []byte) error
}

// Batcher is a store of chunks that makes many of them durable at once.
type Batcher interface {
	Batch() Batch
}

// Batch takes chunks that need be there, and durable, only when Commit has returned. It is used by several goroutines at
// once. Close drops what was not committed.
type Batch interface {
	Put(ctx context.Context, id firmware.ChunkID, frame []byte) error
	Commit(ctx context.Context) error
	io.Closer
}

// commitEvery is how many bytes of frames wait at most, roughly, for a commit: often enough that the medium is busy while
// the processor compresses, and that little waits at the end.
const commitEvery = 64 << 20

// Options of Payload.
type Options struct {
	Chunks   Chunks
	Progress func(done int64) // plain bytes stored so far; called from several goroutines; may be nil
}

// Result is a payload that is in the store.
type Result struct {
	Index  *firmware.Index
	SHA256 firmware.Digest // of the payload
	Size   int64           // of the payload
	Stored int64           // compressed bytes of all of its distinct chunks
	New    int64           // compressed bytes of those that were not in the store
	Chunks int             // distinct
}

// Payload cuts r to its end and stores its chunks. The error matches ErrEmpty, or firmware.ErrTooLarge for a payload over
// firmware.MaxPayloadSize; chunks that were committed until then stay, and are found again when it is tried again.
func Payload(ctx context.Context, r io.Reader, o Options) (*Result, error) {
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	p := newPipeline(o)
	defer p.batch.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.cut(ctx, r) })
	g.Go(func() error { return p.hashAll(ctx) })
	g.Go(func() error {
		defer close(p.due)
		stores, ctx := errgroup.WithContext(ctx)
		for range p.workers {
			stores.Go(func() error { return p.storeAll(ctx) })
		}
		return stores.Wait()
	})
	g.Go(func() error { return p.commitAll(ctx) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	p.result.Index = firmware.NewIndex(chunker.Default(), p.chunks)
	p.result.Size = p.result.Index.Size()
	p.result.Chunks = len(p.seen)
	return &p.result, nil
}

// piece is one chunk on its way. Two goroutines read it; the last one gives the buffer back.
type piece struct {
	at      int
	plain   []byte
	shared  bool // it is the zeros of everybody and goes nowhere
	readers atomic.Int32
}

type pipeline struct {
	Options
	workers int
	batch   Batch
	free    chan []byte
	hashing chan *piece
	storing chan *piece
	due     chan struct{} // a commit is
	waiting atomic.Int64  // bytes of frames that were put since the last
	done    atomic.Int64
	zero    *firmware.Chunk // the largest chunk of zeros, once there was one; of the cutter

	mu     sync.Mutex
	chunks []firmware.Chunk
	seen   map[firmware.ChunkID]struct{}
	result Result
}

func newPipeline(o Options) *pipeline {
	workers := runtime.GOMAXPROCS(0)
	inFlight := 4*workers + 4 // enough that nobody waits for the slowest chunk
	p := &pipeline{
		Options: o, workers: workers, batch: batchOf(o.Chunks),
		free:    make(chan []byte, inFlight),
		hashing: make(chan *piece, inFlight),
		storing: make(chan *piece, inFlight),
		due:     make(chan struct{}, 1),
		seen:    map[firmware.ChunkID]struct{}{},
	}
	for range inFlight {
		p.free <- nil // grown on first use: a small image costs little
	}
	return p
}

// cut sends every chunk to both sides, but zeros only once to be stored.
func (p *pipeline) cut(ctx context.Context, r io.Reader) error {
	defer close(p.hashing)
	defer close(p.storing)
	var at int
	var size int64
	err := chunker.Split(r, chunker.Default(), func(plain []byte) error {
		if size += int64(len(plain)); size > firmware.MaxPayloadSize {
			return fmt.Errorf("an image of over %d bytes: %w", int64(firmware.MaxPayloadSize), firmware.ErrTooLarge)
		}
		at++
		if zeros := len(plain) == int(chunker.Default().Max) && firmware.AllZero(plain); zeros && p.zero != nil {
			return p.repeatZeros(ctx, at-1)
		} else if zeros {
			p.zero = &firmware.Chunk{ID: firmware.Sum(plain), Size: uint32(len(plain))}
		}
		select {
		case buf := <-p.free:
			c := &piece{at: at - 1, plain: append(buf[:0], plain...)}
			c.readers.Store(2)
			return errors.Join(send(ctx, p.hashing, c), send(ctx, p.storing, c))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	switch {
	case errors.Is(err, firmware.ErrMalformed) && at == 0:
		return ErrEmpty
	case err != nil:
		return fmt.Errorf("cut the image: %w", err)
	}
	return nil
}

// noughts are the bytes of every chunk of zeros but the first.
var noughts = sync.OnceValue(func() []byte { return make([]byte, chunker.Default().Max) })

// repeatZeros notes another chunk of zeros. It only goes into the digest of the whole.
func (p *pipeline) repeatZeros(ctx context.Context, at int) error {
	c := &piece{at: at, plain: noughts(), shared: true}
	c.readers.Store(1)
	p.mu.Lock()
	p.note(c, p.zero.ID) // and no more: the first of them may still be on its way to the store
	p.mu.Unlock()
	p.Progress(p.done.Add(int64(len(c.plain))))
	return send(ctx, p.hashing, c)
}

func send(ctx context.Context, to chan<- *piece, c *piece) error {
	select {
	case to <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// release gives the buffer back when the last reader is done. There is room for every buffer that there is.
func (p *pipeline) release(c *piece) {
	if c.readers.Add(-1) == 0 && !c.shared {
		p.free <- c.plain
	}
}

func (p *pipeline) hashAll(ctx context.Context) error {
	h := sha256.New()
	for c := range p.hashing {
		h.Write(c.plain)
		p.release(c)
	}
	if ctx.Err() == nil {
		h.Sum(p.result.SHA256[:0])
	}
	return nil
}

func (p *pipeline) storeAll(ctx context.Context) error {
	encoder := firmware.NewEncoder()
	var frame []byte
	for c := range p.storing {
		var err error
		if frame, err = p.store(ctx, c, encoder, frame[:0]); err != nil {
			return err
		}
		p.Progress(p.done.Add(int64(len(c.plain))))
		p.release(c)
	}
	return nil
}

// store puts a chunk. It encodes into buf, which it returns, perhaps grown.
func (p *pipeline) store(ctx context.Context, c *piece, encoder *firmware.Encoder, buf []byte) ([]byte, error) {
	id := firmware.Sum(c.plain)
	if !p.first(c, id) {
		return buf, nil
	}
	size, err := p.Chunks.Size(ctx, id)
	if err == nil {
		p.count(size, 0)
		return buf, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return buf, fmt.Errorf("look for chunk %s: %w", id, err)
	}
	frame := encoder.Append(buf, c.plain)
	if err := p.batch.Put(ctx, id, frame); err != nil {
		return frame, fmt.Errorf("store chunk %s: %w", id, err)
	}
	p.count(int64(len(frame)), int64(len(frame)))
	if p.waiting.Add(int64(len(frame))) >= commitEvery {
		p.waiting.Store(0)
		select {
		case p.due <- struct{}{}:
		default: // one is due already
		}
	}
	return frame, nil
}

func (p *pipeline) commitAll(ctx context.Context) error {
	for range p.due {
		if err := p.batch.Commit(ctx); err != nil {
			return fmt.Errorf("commit chunks: %w", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.batch.Commit(ctx); err != nil {
		return fmt.Errorf("commit chunks: %w", err)
	}
	return nil
}

// first notes the chunk at its place and reports whether it is the first of its name.
func (p *pipeline) first(c *piece, id firmware.ChunkID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(c, id)
	_, repeated := p.seen[id]
	p.seen[id] = struct{}{}
	return !repeated
}

func (p *pipeline) note(c *piece, id firmware.ChunkID) {
	for len(p.chunks) <= c.at {
		p.chunks = append(p.chunks, firmware.Chunk{})
	}
	p.chunks[c.at] = firmware.Chunk{ID: id, Size: uint32(len(c.plain))}
}

func (p *pipeline) count(stored, added int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result.Stored += stored
	p.result.New += added
}
