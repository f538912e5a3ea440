package firmware

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Words of the casync blob index, all little-endian uint64. The layout was read in casync's caformat.h and desync's
// format.go: a 48-byte header, a 16-byte table head, 40 bytes a chunk, a 40-byte tail.
const (
	caFormatIndex     = 0x96824d9c7b129ff9
	caFormatTable     = 0xe75b9e112f17417d
	caFormatTableTail = 0x4b4f050e5549ecd1
	caFlagsSHA256     = 0x8000000000000000 // what desync writes for a blob with SHA-256 ids; casync accepts it
	caFlagSHA512_256  = 0x2000000000000000
	indexHeaderSize   = 48
	indexFixedSize    = indexHeaderSize + 16 + indexItemSize
	indexItemSize     = 8 + 32
)

// Chunking holds the chunk sizes, in bytes, that a payload was cut with. The maximum binds readers; the others inform.
type Chunking struct{ Min, Avg, Max uint64 }

// Chunk is one entry of an Index.
type Chunk struct {
	ID   ChunkID
	Size uint32 // plain bytes, 1..MaxChunkSize
}

// Span is a range of bytes of a payload.
type Span struct {
	Offset int64
	Size   int
}

// Index is the ordered list of chunks that rebuilds one payload.
type Index struct {
	Chunking Chunking
	Hash     Hash // of the ids
	Chunks   []Chunk
	ends     []int64 // end offset of each chunk; len(ends) == len(Chunks)
}

// NewIndex returns the index of a payload cut into chunks.
func NewIndex(c Chunking, chunks []Chunk) *Index {
	x := &Index{Chunking: c, Chunks: chunks, ends: make([]int64, len(chunks))}
	var end int64
	for i, c := range chunks {
		end += int64(c.Size)
		x.ends[i] = end
	}
	return x
}

// Size returns the number of bytes of the payload.
func (x *Index) Size() int64 {
	if len(x.ends) == 0 {
		return 0
	}
	return x.ends[len(x.ends)-1]
}

// Span returns where chunk i lies in the payload.
func (x *Index) Span(i int) Span {
	size := int(x.Chunks[i].Size)
	return Span{Offset: x.ends[i] - int64(size), Size: size}
}

// Encode returns the index as a .caibx file.
func (x *Index) Encode() []byte {
	b := make([]byte, 0, indexFixedSize+indexItemSize*len(x.Chunks))
	word := func(v uint64) { b = binary.LittleEndian.AppendUint64(b, v) }
	flags := uint64(caFlagsSHA256)
	if x.Hash == HashSHA512 {
		flags |= caFlagSHA512_256
	}
	for _, v := range []uint64{
		indexHeaderSize, caFormatIndex, flags, x.Chunking.Min, x.Chunking.Avg, x.Chunking.Max,
		^uint64(0), caFormatTable,
	} {
		word(v)
	}
	for i, c := range x.Chunks {
		word(uint64(x.ends[i]))
		b = append(b, c.ID[:]...)
	}
	tableSize := uint64(16 + indexItemSize*len(x.Chunks) + indexItemSize)
	for _, v := range []uint64{0, 0, indexHeaderSize, tableSize, caFormatTableTail} {
		word(v)
	}
	return b
}

// ReadIndex reads a .caibx file to its end. It accepts what casync and desync write with digest sha256 and refuses,
// before allocating for it, anything over MaxIndexSize.
func ReadIndex(r io.Reader) (*Index, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxIndexSize+1))
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return ParseIndex(b)
}

// ParseIndex is ReadIndex over bytes. An index with SHA-512/256 ids is refused: devices name chunks by SHA-256, so a release
// must not have one.
func ParseIndex(b []byte) (*Index, error) {
	x, err := ParseCasyncIndex(b)
	if err == nil && x.Hash != HashSHA256 {
		return nil, fmt.Errorf("index: its ids are SHA-512/256; make it with --digest=sha256: %w", ErrMalformed)
	}
	return x, err
}

// ParseCasyncIndex is ParseIndex for whatever casync and desync write, with either digest; Hash says which.
func ParseCasyncIndex(b []byte) (*Index, error) {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("index: %s: %w", fmt.Sprintf(format, a...), ErrMalformed)
	}
	if len(b) > MaxIndexSize {
		return nil, fmt.Errorf("index: over %d bytes: %w", MaxIndexSize, ErrTooLarge)
	}
	if len(b) < indexFixedSize || (len(b)-indexFixedSize)%indexItemSize != 0 {
		return nil, bad("%d bytes is no whole number of entries", len(b))
	}
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	if word(0) != indexHeaderSize || word(8) != caFormatIndex {
		return nil, bad("this is no casync index")
	}
	if word(48) != ^uint64(0) || word(56) != caFormatTable {
		return nil, bad("the table head is missing")
	}
	c := Chunking{Min: word(24), Avg: word(32), Max: word(40)}
	if c.Min < 1 || c.Min > c.Avg || c.Avg > c.Max || c.Max > MaxChunkSize {
		return nil, bad("chunk sizes %d/%d/%d are not 1 ≤ min ≤ avg ≤ max ≤ %d", c.Min, c.Avg, c.Max, MaxChunkSize)
	}
	n := (len(b) - indexFixedSize) / indexItemSize
	tail := len(b) - indexItemSize
	if word(tail) != 0 || word(tail+8) != 0 || word(tail+16) != indexHeaderSize ||
		word(tail+24) != uint64(len(b)-indexHeaderSize) || word(tail+32) != caFormatTableTail {
		return nil, bad("the tail is wrong; the file may be cut short")
	}
	chunks := make([]Chunk, n)
	var start uint64
	for i := range chunks {
		at := indexHeaderSize + 16 + i*indexItemSize
		end := word(at)
		if end <= start || end-start > c.Max || end > MaxPayloadSize {
			return nil, bad("chunk %d ends at %d after a start at %d", i, end, start)
		}
		chunks[i].Size = uint32(end - start)
		copy(chunks[i].ID[:], b[at+8:])
		start = end
	}
	x := NewIndex(c, chunks)
	if word(16)&caFlagSHA512_256 != 0 {
		x.Hash = HashSHA512
	}
	return x, nil
}
