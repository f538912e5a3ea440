package packs

import (
	"container/list"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Payload reads a payload out of a chunk store, as if it lay in one file. It is an io.ReaderAt that is safe for concurrent
// use. The chunks that were read last stay decoded, as many as fit into a limit: an encoder looks at one region of a base
// again and again.
type Payload struct {
	index *firmware.Index
	frame func(firmware.ChunkID) ([]byte, error)
	room  int64

	mu     sync.Mutex
	chunks map[firmware.ChunkID]*list.Element // of *decoded
	recent *list.List                         // the last used in front
	held   int64                              // bytes
}

// decoded is a chunk; whoever comes first loads it.
type decoded struct {
	chunk firmware.Chunk
	once  sync.Once
	plain []byte
	err   error
}

// NewPayload reads the payload of an index; frame returns a chunk as it is stored, and room is how many bytes of decoded
// chunks are kept.
func NewPayload(index *firmware.Index, room int64, frame func(firmware.ChunkID) ([]byte, error)) *Payload {
	return &Payload{index: index, frame: frame, room: room, chunks: map[firmware.ChunkID]*list.Element{}, recent: list.New()}
}

// ReadAt implements io.ReaderAt.
func (p *Payload) ReadAt(b []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, fmt.Errorf("payload: read at %d: %w", offset, firmware.ErrMalformed)
	}
	i := sort.Search(len(p.index.Chunks), func(i int) bool {
		s := p.index.Span(i)
		return s.Offset+int64(s.Size) > offset
	})
	for ; n < len(b) && i < len(p.index.Chunks); i++ {
		plain, err := p.chunk(p.index.Chunks[i])
		if err != nil {
			return n, err
		}
		n += copy(b[n:], plain[offset+int64(n)-p.index.Span(i).Offset:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// chunk returns the bytes of a chunk, which must not be written to.
func (p *Payload) chunk(c firmware.Chunk) ([]byte, error) {
	p.mu.Lock()
	e := p.chunks[c.ID]
	if e == nil {
		e = p.recent.PushFront(&decoded{chunk: c})
		p.chunks[c.ID] = e
		for p.held += int64(c.Size); p.held > p.room && p.recent.Len() > 1; {
			p.drop(p.recent.Back())
		}
	}
	p.recent.MoveToFront(e)
	p.mu.Unlock()

	d := e.Value.(*decoded)
	d.once.Do(func() {
		var frame []byte
		if frame, d.err = p.frame(c.ID); d.err == nil {
			d.plain, d.err = firmware.DecodeChunk(frame, c.ID, int(c.Size))
		}
	})
	if d.err != nil { // another reader may have more luck
		p.mu.Lock()
		if p.chunks[c.ID] == e {
			p.drop(e)
		}
		p.mu.Unlock()
	}
	return d.plain, d.err
}

// drop forgets a chunk. The caller holds the lock.
func (p *Payload) drop(e *list.Element) {
	d := p.recent.Remove(e).(*decoded)
	delete(p.chunks, d.chunk.ID)
	p.held -= int64(d.chunk.Size)
}
