// Package chunker cuts a payload where its content says so, so that an insertion moves boundaries only near itself and two
// versions of an image share most of their chunks. Only publishers cut; a device never links this package, because an
// index already holds the boundaries.
//
// The algorithm is FastCDC (Xia et al., USENIX ATC 2016) with the gear table and masks of go-cdc-chunkers' "fastcdc-v1.0.0".
// Algorithm, table and sizes are part of the format in practice: other boundaries would end all sharing with releases
// that exist. A test holds them, and another compares every boundary with the library's own.
//
// The loop is here and not the library's for two reasons: the bytes are read into place once, and runs of zeros, which
// are a good part of most file system images, cost next to nothing. A boundary depends on nothing before the chunk it
// ends, so a chunk that begins with Max zeros always ends in the same way; such chunks need no scan, and where the
// payload is a sparse file they are not even read.
package chunker

import (
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Default returns the sizes that releases are cut with: 16, 64 and 256 KiB, casync's own.
func Default() firmware.Chunking {
	return firmware.Chunking{Min: 16 << 10, Avg: 64 << 10, Max: 256 << 10}
}

// readAhead is how many chunks of the largest size are read at a time.
const readAhead = 8

// Split calls each with every chunk of r in order. The bytes are valid only during the call and must not be changed. An
// empty payload is refused, as an index cannot describe it.
//
// A reader that is a sparse file is read from where it stands; its holes are skipped.
func Split(r io.Reader, c firmware.Chunking, each func(plain []byte) error) error {
	rule, err := newRule(c)
	if err != nil {
		return err
	}
	s := &splitter{rule: rule, r: r, holes: holesOf(r), buf: make([]byte, readAhead*rule.max), each: each}
	for {
		if err := s.fill(); err != nil {
			return fmt.Errorf("read the payload: %w", err)
		}
		if s.from == s.to && s.zeros == 0 {
			break
		}
		if err := s.give(); err != nil {
			return err
		}
	}
	if !s.any {
		return fmt.Errorf("the payload is empty: %w", firmware.ErrMalformed)
	}
	return nil
}

// splitter is one Split. What was read and not given yet is buf[from:to]; zeros chunks that were never read come before.
type splitter struct {
	rule     rule
	r        io.Reader
	holes    *holes // nil when r has none to tell of
	buf      []byte
	from, to int
	zeros    int
	eof, any bool
	each     func([]byte) error
}

// fill reads until a largest chunk can be told, or to the end.
func (s *splitter) fill() error {
	if s.to-s.from >= s.rule.max || s.eof || s.zeros > 0 {
		return nil
	}
	if s.holes != nil && len(s.rule.zeros) == s.rule.max && firmware.AllZero(s.buf[s.from:s.to]) {
		n, err := s.holes.skip(s.to-s.from, s.rule.max)
		if err != nil {
			return err
		}
		if n > 0 {
			s.zeros, s.from, s.to = n, 0, 0
			return nil
		}
	}
	s.to = copy(s.buf, s.buf[s.from:s.to])
	s.from = 0
	for s.to < len(s.buf) { // not io.ReadFull, which cannot tell a payload that ends from a reader that was cut short
		n, err := s.r.Read(s.buf[s.to:])
		s.to += n
		if errors.Is(err, io.EOF) {
			s.eof = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// give hands over what can be told without reading more.
func (s *splitter) give() error {
	s.any = true
	for ; s.zeros > 0; s.zeros-- {
		if err := s.each(s.rule.zeros); err != nil {
			return err
		}
	}
	for s.to-s.from >= s.rule.max || s.eof && s.to > s.from {
		n := s.rule.cut(s.buf[s.from:s.to])
		if err := s.each(s.buf[s.from : s.from+n]); err != nil {
			return err
		}
		s.from += n
	}
	return nil
}

// rule says where a chunk ends.
type rule struct {
	min, normal, max int
	before, after    uint64 // masks below and from the normal size
	zeros            []byte // the chunk that begins where max zeros follow
}

func newRule(c firmware.Chunking) (rule, error) {
	if c.Max > firmware.MaxChunkSize {
		return rule{}, fmt.Errorf("chunks of up to %d bytes: %w", c.Max, firmware.ErrTooLarge)
	}
	if c.Min < 64 || c.Min >= c.Avg || c.Avg >= c.Max || c.Avg&(c.Avg-1) != 0 {
		return rule{}, fmt.Errorf("chunk sizes %d/%d/%d are not 64 ≤ min < avg < max with an average that is a power of two: %w",
			c.Min, c.Avg, c.Max, firmware.ErrMalformed)
	}
	level := bits.TrailingZeros64(c.Avg)
	r := rule{min: int(c.Min), normal: int(c.Avg), max: int(c.Max), before: spread(level + 2), after: spread(level - 2)}
	zeros := make([]byte, r.max)
	r.zeros = zeros[:r.scan(zeros)]
	return r, nil
}

// spread returns n one bits, evenly over the word from its top.
func spread(n int) uint64 {
	var mask uint64
	for i := range n {
		mask |= 1 << (63 - i*(64/n))
	}
	return mask
}

// cut returns the size of the chunk that b begins with. b holds the largest chunk or the end of the payload.
func (r *rule) cut(b []byte) int {
	if len(b) >= r.max && firmware.AllZero(b[:r.max]) {
		return len(r.zeros)
	}
	return r.scan(b)
}

func (r *rule) scan(b []byte) int {
	if len(b) <= r.min {
		return len(b)
	}
	b = b[:min(len(b), r.max)]
	normal := max(r.min, min(len(b), r.normal))
	n, sum := find(b[r.min:normal], 0, r.before)
	if n += r.min; n < normal {
		return n
	}
	n, _ = find(b[normal:], sum, r.after)
	return normal + n
}

// find returns where in b a boundary is, or len(b), and the rolling sum there.
func find(b []byte, sum, mask uint64) (int, uint64) {
	for i, c := range b {
		if sum = sum<<1 + fastcdc.G[c]; sum&mask == 0 {
			return i, sum
		}
	}
	return len(b), sum
}
