// Package build turns an image into what a repository holds: chunks in a store and the index that joins them.
//
//	read once ─► cut ─┬─► SHA-256 of the whole            one goroutine, in order
//	                  └─► SHA-256, compress, put          one goroutine a core, new chunks only
//
// The image is read once, front to back, and may be larger than memory: at most a fixed number of chunks are in flight,
// each in a buffer that is used again. A chunk that the store holds already is neither compressed nor written.
package build

import (
	"bufio"
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
	// Put stores a frame durably.
	Put(ctx context.Context, id firmware.ChunkID, frame []byte) error
}

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
// firmware.MaxPayloadSize; chunks that were stored until then stay, and are found again when it is tried again.
func Payload(ctx context.Context, r io.Reader, o Options) (*Result, error) {
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	p := newPipeline(o)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.cut(ctx, r) })
	g.Go(func() error { return p.hashAll(ctx) })
	for range p.workers {
		g.Go(func() error { return p.storeAll(ctx) })
	}
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
	readers atomic.Int32
}

type pipeline struct {
	Options
	workers int
	free    chan []byte
	hashing chan *piece
	storing chan *piece
	done    atomic.Int64

	mu     sync.Mutex
	chunks []firmware.Chunk
	seen   map[firmware.ChunkID]struct{}
	result Result
}

func newPipeline(o Options) *pipeline {
	workers := runtime.GOMAXPROCS(0)
	inFlight := 4*workers + 4 // enough that nobody waits for the slowest chunk
	p := &pipeline{
		Options: o, workers: workers,
		free:    make(chan []byte, inFlight),
		hashing: make(chan *piece, inFlight),
		storing: make(chan *piece, inFlight),
		seen:    map[firmware.ChunkID]struct{}{},
	}
	for range inFlight {
		p.free <- nil // grown on first use: a small image costs little
	}
	return p
}

// cut sends every chunk to both sides. The channels hold all buffers that there are, so only the wait for a free buffer
// can block.
func (p *pipeline) cut(ctx context.Context, r io.Reader) error {
	defer close(p.hashing)
	defer close(p.storing)
	var at int
	var size int64
	first := bufio.NewReader(r)
	if _, err := first.Peek(1); errors.Is(err, io.EOF) {
		return ErrEmpty
	}
	err := chunker.Split(first, chunker.Default(), func(plain []byte) error {
		if size += int64(len(plain)); size > firmware.MaxPayloadSize {
			return fmt.Errorf("an image of over %d bytes: %w", int64(firmware.MaxPayloadSize), firmware.ErrTooLarge)
		}
		select {
		case buf := <-p.free:
			c := &piece{at: at, plain: append(buf[:0], plain...)}
			c.readers.Store(2)
			p.hashing <- c
			p.storing <- c
			at++
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if err != nil {
		return fmt.Errorf("cut the image: %w", err)
	}
	return nil
}

func (p *pipeline) release(c *piece) {
	if c.readers.Add(-1) == 0 {
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
	for c := range p.storing {
		if err := p.store(ctx, c); err != nil {
			return err
		}
		p.Progress(p.done.Add(int64(len(c.plain))))
		p.release(c)
	}
	return nil
}

func (p *pipeline) store(ctx context.Context, c *piece) error {
	id := firmware.Sum(c.plain)
	if !p.first(c, id) {
		return nil
	}
	size, err := p.Chunks.Size(ctx, id)
	if err == nil {
		p.count(size, 0)
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for chunk %s: %w", id, err)
	}
	frame := firmware.EncodeChunk(c.plain)
	if err := p.Chunks.Put(ctx, id, frame); err != nil {
		return fmt.Errorf("store chunk %s: %w", id, err)
	}
	p.count(int64(len(frame)), int64(len(frame)))
	return nil
}

// first notes the chunk at its place and reports whether it is the first of its name.
func (p *pipeline) first(c *piece, id firmware.ChunkID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.chunks) <= c.at {
		p.chunks = append(p.chunks, firmware.Chunk{})
	}
	p.chunks[c.at] = firmware.Chunk{ID: id, Size: uint32(len(c.plain))}
	_, repeated := p.seen[id]
	p.seen[id] = struct{}{}
	return !repeated
}

func (p *pipeline) count(stored, added int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result.Stored += stored
	p.result.New += added
}
