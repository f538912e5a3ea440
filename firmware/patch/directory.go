package patch

import (
	"encoding/binary"
	"errors"

	"github.com/klauspost/compress/zstd"

	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

// parseDirectory reads the frame of the directory. The groups it returns have no offsets yet.
func parseDirectory(frame []byte) ([]Group, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxDirectory), zstd.WithDecoderMaxWindow(MaxDirectory))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	plain, err := d.DecodeAll(frame, nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, tooLarge("a directory of over %d bytes", MaxDirectory)
	}
	if err != nil {
		return nil, malformed("directory: %v", err)
	}
	r := words{b: plain}
	groups := make([]Group, r.upTo(MaxGroups, "groups"))
	for i := range groups {
		if groups[i].Size = int64(r.upTo(delta.MaxBody, "bytes in a body")); groups[i].Size == 0 {
			r.fail(malformed("group %d has no body", i))
		}
	}
	total := 0
	counts := make([]int, len(groups))
	for i := range counts {
		counts[i] = r.upTo(MaxChunks, "chunks in a group")
		if total += counts[i]; counts[i] == 0 || total > MaxChunks {
			r.fail(tooLarge("%d chunks in a group, %d up to it", counts[i], total))
		}
		if r.err != nil {
			return nil, r.err
		}
	}
	all := make([]int, 0, total) // one allocation for all groups
	next := 0
	for i, n := range counts {
		first := len(all)
		for len(all)-first < n && r.err == nil {
			all, next = r.run(all, next, len(all) == first, n-(len(all)-first))
		}
		groups[i].Chunks = all[first:len(all):len(all)]
	}
	if len(r.b) > 0 {
		r.fail(malformed("%d bytes after the directory", len(r.b)))
	}
	if r.err == nil && overlap(all) {
		r.fail(malformed("a chunk is in two groups"))
	}
	return groups, r.err
}

// run appends one run of numbers and returns where the next one is counted from. left bounds its length.
func (r *words) run(all []int, next int, first bool, left int) ([]int, int) {
	var gap int64
	var more bool
	if first {
		v := r.signed()
		gap, more = v>>1, v&1 == 1
	} else {
		v := r.word()
		gap, more = int64(v>>1), v&1 == 1
	}
	if gap < -maxNumber || gap > maxNumber {
		r.fail(malformed("a gap of %d numbers", gap))
		return all, next
	}
	n := 1
	if more {
		n = r.upTo(uint64(left), "chunks in a run") + 2
	}
	from := next + int(gap)
	if n > left || from < 0 || from+n > maxNumber {
		r.fail(malformed("%d chunks from %d where %d are left", n, from, left))
		return all, next
	}
	for i := range n {
		all = append(all, from+i)
	}
	return all, from + n
}

// overlap reports whether a number occurs twice.
func overlap(all []int) bool {
	top := 0
	for _, n := range all {
		top = max(top, n)
	}
	seen := make([]uint64, top/64+1)
	for _, n := range all {
		if seen[n/64]>>(n%64)&1 == 1 {
			return true
		}
		seen[n/64] |= 1 << (n % 64)
	}
	return false
}

// words reads numbers; the first failure stays and everything after it is zero.
type words struct {
	b   []byte
	err error
}

func (r *words) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *words) word() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(malformed("directory: it is cut short"))
	}
	if r.err != nil {
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *words) signed() int64 {
	v := r.word()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *words) upTo(limit uint64, what string) int {
	v := r.word()
	if v > limit {
		r.fail(tooLarge("%d %s, over %d", v, what, limit))
		return 0
	}
	return int(v)
}
