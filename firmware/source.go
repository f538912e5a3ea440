package firmware

import (
	"context"
	"fmt"
	"io"
	"slices"
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
	hash  Hash
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
	return &Seed{at: at, hash: index.Hash, bytes: payload}
}

// Has implements Source from the index alone; the bytes are looked at only by Chunk.
func (s *Seed) Has(id ChunkID) bool { _, ok := s.at[id]; return ok }

// Chunk implements Source.
func (s *Seed) Chunk(ctx context.Context, id ChunkID) ([]byte, error) {
	return s.AppendChunk(ctx, nil, id)
}

// AppendChunk is Chunk for whoever has a buffer to use again: it returns dst with the chunk behind it. After an error dst
// is unchanged, but not what lay in its capacity.
func (s *Seed) AppendChunk(_ context.Context, dst []byte, id ChunkID) ([]byte, error) {
	span, ok := s.at[id]
	if !ok {
		return nil, fmt.Errorf("seed: %s: %w", id, ErrNotFound)
	}
	all := slices.Grow(dst, span.Size)[:len(dst)+span.Size]
	b := all[len(dst):]
	if n, err := s.bytes.ReadAt(b, span.Offset); n < len(b) {
		return nil, fmt.Errorf("seed: %s at %d: %w: %w", id, span.Offset, ErrCorrupt, err)
	}
	if s.hash.Sum(b) != id {
		return nil, fmt.Errorf("seed: %s at %d: %w", id, span.Offset, ErrCorrupt)
	}
	return all, nil
}
