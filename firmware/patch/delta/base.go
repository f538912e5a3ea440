package delta

import (
	"encoding/binary"
	"fmt"
	"io"
	"sort"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Range is a range of bytes of the base payload.
type Range struct{ Offset, Length int64 }

// appendRanges writes ranges, which rise and do not overlap: their number, then the gap and the length of each.
func appendRanges(b []byte, ranges []Range) []byte {
	b = binary.AppendUvarint(b, uint64(len(ranges)))
	var end int64
	for _, r := range ranges {
		b = binary.AppendUvarint(b, uint64(r.Offset-end))
		b = binary.AppendUvarint(b, uint64(r.Length))
		end = r.Offset + r.Length
	}
	return b
}

// parseRanges returns the ranges at the start of b and the rest of b.
func parseRanges(b []byte, baseSize int64) ([]Range, []byte, error) {
	word := func() (v int64, err error) {
		u, n := binary.Uvarint(b)
		if n <= 0 || u > uint64(baseSize) {
			return 0, fmt.Errorf("patch: a range of the base is wrong: %w", firmware.ErrMalformed)
		}
		b = b[n:]
		return int64(u), nil
	}
	count, n := binary.Uvarint(b)
	if n <= 0 || count > MaxRanges {
		return nil, nil, fmt.Errorf("patch: over %d ranges of the base: %w", MaxRanges, firmware.ErrMalformed)
	}
	b = b[n:]
	ranges := make([]Range, 0, count)
	var end, total int64
	for range count {
		gap, err := word()
		if err != nil {
			return nil, nil, err
		}
		length, err := word()
		if err != nil {
			return nil, nil, err
		}
		r := Range{Offset: end + gap, Length: length}
		end = r.Offset + r.Length
		if total += length; length == 0 || end > baseSize || total > MaxBase {
			return nil, nil, fmt.Errorf("patch: a range of the base goes over its end or its limit: %w", firmware.ErrMalformed)
		}
		ranges = append(ranges, r)
	}
	return ranges, b, nil
}

const (
	pageBits  = 14
	pageSize  = 1 << pageBits
	pageCount = 64 // a mebibyte of the base in memory
)

// pages is the declared ranges of a base, put one behind the other, with the pages that were read last in memory.
type pages struct {
	base   io.ReaderAt
	ranges []Range
	starts []int64 // of each range when they are put together
	size   int64
	page   [pageCount]int64 // number + 1
	bytes  [pageCount][]byte
}

// open takes up another base; the memory of the pages stays.
func (p *pages) open(base io.ReaderAt, ranges []Range) {
	*p = pages{base: base, ranges: ranges, starts: make([]int64, len(ranges)), bytes: p.bytes}
	for i, r := range ranges {
		p.starts[i] = p.size
		p.size += r.Length
	}
}

// from returns at least one byte at v, and what follows it on the page.
func (p *pages) from(v int64) ([]byte, error) {
	n := v >> pageBits
	slot := n % pageCount
	if p.page[slot] != n+1 {
		if err := p.read(n, slot); err != nil {
			return nil, err
		}
	}
	return p.bytes[slot][v&(pageSize-1):], nil
}

func (p *pages) read(n, slot int64) error {
	at := n << pageBits
	size := min(pageSize, p.size-at)
	if cap(p.bytes[slot]) == 0 {
		p.bytes[slot] = make([]byte, pageSize)
	}
	b := p.bytes[slot][:size]
	p.page[slot], p.bytes[slot] = 0, b
	for i := sort.Search(len(p.starts), func(i int) bool { return p.starts[i] > at }) - 1; len(b) > 0; i++ {
		r := p.ranges[i]
		skip := at - p.starts[i]
		k := min(int64(len(b)), r.Length-skip)
		if m, err := p.base.ReadAt(b[:k], r.Offset+skip); int64(m) < k {
			return fmt.Errorf("patch: read the base at %d: %w: %w", r.Offset+skip, firmware.ErrCorrupt, err)
		}
		b, at = b[k:], at+k
	}
	p.page[slot] = n + 1
	return nil
}
