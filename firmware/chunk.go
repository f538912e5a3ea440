package firmware

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// ChunkPath returns where a chunk rests in a casync chunk store: <first 4 hex>/<64 hex>.cacnk.
func ChunkPath(id ChunkID) string {
	s := id.String()
	return s[:4] + "/" + s + ".cacnk"
}

// MaxFrameSize is the largest stored form of a chunk: a frame that does not shrink grows by a few bytes.
const MaxFrameSize = MaxChunkSize + MaxChunkSize>>8 + 64

// encoder and decoder are made once, on first use: each costs about a megabyte and both are safe for concurrent use.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(0))
		if err != nil {
			panic(err) // the options are constant
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(MaxChunkSize), zstd.WithDecoderMaxWindow(MaxChunkSize))
		if err != nil {
			panic(err)
		}
		return d
	})
)

// EncodeChunk returns the stored form of a chunk: one zstd frame.
func EncodeChunk(plain []byte) []byte {
	return encoder().EncodeAll(plain, make([]byte, 0, len(plain)/2+64))
}

// DecodeChunk returns the plain bytes of a stored chunk, verified against id. size is the length that the index gives;
// zero when it is not known. Memory stays within MaxChunkSize whatever the frame claims.
func DecodeChunk(frame []byte, id ChunkID, size int) ([]byte, error) {
	if len(frame) > MaxFrameSize {
		return nil, fmt.Errorf("chunk %s: a frame of %d bytes: %w", id, len(frame), ErrTooLarge)
	}
	room := size
	if room <= 0 || room > MaxChunkSize {
		room = 0
	}
	plain, err := decoder().DecodeAll(frame, make([]byte, 0, room))
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, fmt.Errorf("chunk %s: %w", id, ErrTooLarge)
	case err != nil:
		return nil, fmt.Errorf("chunk %s: %w: %w", id, ErrCorrupt, err)
	case size > 0 && len(plain) != size, Sum(plain) != id:
		return nil, fmt.Errorf("chunk %s: %w", id, ErrCorrupt)
	}
	return plain, nil
}
