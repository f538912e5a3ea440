package firmware

import (
	"context"
	"fmt"
	"io"
)

// Source hands over chunks. Implementations are safe for concurrent use; firmware/sourcetest is their conformance suite.
type Source interface {
	// Has reports whether Chunk would probably succeed. It is cheap and never waits for a network.
	Has(id ChunkID) bool
	// Chunk returns the plain bytes of a chunk, verified against id. The caller owns them.
	// Errors match ErrNotFound when the source lacks the chunk and ErrCorrupt when what it holds is damaged.
	Chunk(ctx context.Context, id ChunkID) ([]byte, error)
}

// Seed is a Source over a payload that lies somewhere in whole, such as the slot that runs now: the index tells where
// each chunk is. What it reads is verified, so a slot that has changed since it was written is a smaller seed, never a
// wrong one.
type Seed struct {
	at    map[ChunkID]Span
	bytes io.ReaderAt
}

// NewSeed returns the chunks of index as found in payload.
func NewSeed(index *Index, payload io.ReaderAt) *Seed {
	at := make(map[ChunkID]Span, len(index.Chunks))
	for i, c := range index.Chunks {
		if _, ok := at[c.ID]; !ok {
			at[c.ID] = index.Span(i)
		}
	}
	return &Seed{at: at, bytes: payload}
}

// Has implements Source from the index alone; the bytes are looked at only by Chunk.
func (s *Seed) Has(id ChunkID) bool { _, ok := s.at[id]; return ok }

// Chunk implements Source.
func (s *Seed) Chunk(_ context.Context, id ChunkID) ([]byte, error) {
	span, ok := s.at[id]
	if !ok {
		return nil, fmt.Errorf("seed: %s: %w", id, ErrNotFound)
	}
	b := make([]byte, span.Size)
	if _, err := s.bytes.ReadAt(b, span.Offset); err != nil {
		return nil, fmt.Errorf("seed: %s at %d: %w: %w", id, span.Offset, ErrCorrupt, err)
	}
	if Sum(b) != id {
		return nil, fmt.Errorf("seed: %s at %d: %w", id, span.Offset, ErrCorrupt)
	}
	return b, nil
}
