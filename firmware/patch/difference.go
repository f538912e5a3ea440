package patch

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Kinds of instructions.
const (
	kindBase = iota
	kindNew
	kindRepeat
)

const (
	flagsAt    = 16 // of the feature flags in a .caibx
	indexFixed = 104
	indexItem  = 40
	maxWindow  = 1 << 20 // of the instructions' frame
)

// Index returns the .caibx of the target from the index difference, the bytes at [Pack.IndexSpan]. size is the length that
// the signed manifest gives for it; the caller compares the digest. base is the index of the base, nil for an empty one.
func (p *Pack) Index(difference []byte, base *firmware.Index, size int64) ([]byte, error) {
	if int64(len(difference)) != p.difference {
		return nil, malformed("%d bytes of an index difference of %d", len(difference), p.difference)
	}
	return restore(difference, base, size)
}

func restore(difference []byte, base *firmware.Index, size int64) ([]byte, error) {
	if size > firmware.MaxIndexSize {
		return nil, tooLarge("an index of %d bytes", size)
	}
	n, k := binary.Uvarint(difference)
	if k <= 0 || n > uint64(len(difference)-k) {
		return nil, malformed("index difference: it is cut short")
	}
	frame, ids := difference[k:k+int(n)], difference[k+int(n):]
	// The instructions are read as a stream: what they unfold to never stands in memory.
	d, err := zstd.NewReader(bytes.NewReader(frame), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	r := &restorer{in: bufio.NewReaderSize(d, 512), ids: ids}
	if base != nil {
		r.base = base.Chunks
	}
	var head [8]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return nil, malformed("index difference: %v", err)
	}
	c := firmware.Chunking{Min: r.word(), Avg: r.word(), Max: r.word()}
	if count := r.word(); r.err == nil && (size < indexFixed || count != uint64(size-indexFixed)/indexItem || (size-indexFixed)%indexItem != 0) {
		r.fail(malformed("an index of %d chunks in %d bytes", count, size))
	}
	if r.err != nil {
		return nil, r.err
	}
	r.out = make([]firmware.Chunk, 0, (size-indexFixed)/indexItem)
	for len(r.out) < cap(r.out) && r.err == nil {
		r.instruction()
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) || len(r.ids) > 0 {
		r.fail(malformed("index difference: bytes after its end"))
	}
	if r.err != nil {
		return nil, r.err
	}
	b := firmware.NewIndex(c, r.out).Encode()
	copy(b[flagsAt:], head[:])
	return b, nil
}

// restorer follows the instructions; the first failure stays.
type restorer struct {
	in     *bufio.Reader
	ids    []byte
	base   []firmware.Chunk
	cursor int
	out    []firmware.Chunk // never grows over its capacity
	err    error
}

func (r *restorer) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *restorer) word() uint64 {
	v, err := binary.ReadUvarint(r.in)
	if err != nil {
		r.fail(malformed("index difference: %v", err))
		return 0
	}
	return v
}

// signed reads a number that is at most limit away from zero.
func (r *restorer) signed(limit int64) int64 {
	u := r.word()
	v := int64(u>>1) ^ -int64(u&1)
	if v < -limit || v > limit {
		r.fail(malformed("index difference: a number of %d", v))
		return 0
	}
	return v
}

func (r *restorer) instruction() {
	v := r.word()
	n := v >> 2
	if r.err == nil && (n == 0 || n > uint64(cap(r.out)-len(r.out))) {
		r.fail(malformed("index difference: %d chunks where %d are left", n, cap(r.out)-len(r.out)))
	}
	if r.err != nil {
		return
	}
	switch v & 3 {
	case kindBase:
		r.fromBase(int(n))
	case kindNew:
		r.fresh(int(n))
	case kindRepeat:
		r.repeat(int(n))
	default:
		r.fail(malformed("index difference: an unknown instruction"))
	}
}

func (r *restorer) fromBase(n int) {
	from := r.cursor + int(r.signed(maxNumber))
	if r.err == nil && (from < 0 || from+n > len(r.base)) {
		r.fail(malformed("index difference: chunks %d to %d of a base of %d", from, from+n, len(r.base)))
	}
	if r.err != nil {
		return
	}
	r.out = append(r.out, r.base[from:from+n]...)
	r.cursor = from + n
}

func (r *restorer) fresh(n int) {
	if len(r.ids)/len(firmware.ChunkID{}) < n {
		r.fail(malformed("index difference: %d ids are not there", n))
	}
	for range n {
		size := r.signed(firmware.MaxChunkSize) + expected(r.base, r.cursor)
		if r.err == nil && (size < 1 || size > firmware.MaxChunkSize) {
			r.fail(malformed("index difference: a chunk of %d bytes", size))
		}
		if r.err != nil {
			return
		}
		c := firmware.Chunk{Size: uint32(size)}
		r.ids = r.ids[copy(c.ID[:], r.ids):]
		r.out = append(r.out, c)
		r.cursor++
	}
}

func (r *restorer) repeat(n int) {
	back := r.word()
	if r.err == nil && (back == 0 || back > uint64(len(r.out))) {
		r.fail(malformed("index difference: %d chunks back after %d", back, len(r.out)))
	}
	if r.err != nil {
		return
	}
	for range n { // one at a time: it may reach into what it writes
		r.out = append(r.out, r.out[len(r.out)-int(back)])
	}
}

// expected is the size of the base's chunk at the cursor.
func expected(base []firmware.Chunk, cursor int) int64 {
	if cursor >= len(base) {
		return 0
	}
	return int64(base[cursor].Size)
}
