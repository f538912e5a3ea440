package delta

import (
	"encoding/binary"
	"math/bits"
)

// How hard the finder looks.
const (
	hashBits = 18
	tries    = 48  // places with the same four bytes that are looked at
	enough   = 192 // bytes of a match with which it is content
)

// match is an earlier place with the same bytes.
type match struct{ n, dist uint32 }

// finder finds earlier places with the same bytes: the newest with the same three, a chain of those with the same four.
type finder struct {
	all   []byte
	base  int
	next  int // first position that is not in the chains
	three []int32
	head  []int32
	prev  []int32
	found []match
}

func (f *finder) init(all []byte, base int) {
	f.all, f.base = all, base
	f.three = make([]int32, 1<<16)
	f.head = make([]int32, 1<<hashBits)
	f.prev = make([]int32, len(all))
	f.index(base)
}

func (f *finder) index(to int) {
	for ; f.next < to; f.next++ {
		if f.next+4 > len(f.all) {
			continue
		}
		h4, h3 := hash4(f.all[f.next:])
		f.prev[f.next] = f.head[h4]
		f.head[h4] = int32(f.next + 1)
		f.three[h3] = int32(f.next + 1)
	}
}

func hash4(b []byte) (h4, h3 uint32) {
	v := binary.LittleEndian.Uint32(b)
	return v * 0x9e3779b1 >> (32 - hashBits), v << 8 * 0x85ebca6b >> 16
}

// at returns matches for the bytes at position v, each longer and farther than the one before, at most limit bytes long.
func (f *finder) at(v, limit int) []match {
	f.found = f.found[:0]
	f.index(v)
	if limit < 4 {
		return nil
	}
	h4, h3 := hash4(f.all[v:])
	best := 2
	if p := int(f.three[h3]) - 1; p >= 0 {
		f.take(v, p, limit, &best)
	}
	for p, k := int(f.head[h4])-1, tries; p >= 0 && k > 0 && best < enough && best < limit; p, k = int(f.prev[p])-1, k-1 {
		if f.all[p+best] == f.all[v+best] {
			f.take(v, p, limit, &best)
		}
	}
	return f.found
}

func (f *finder) take(v, p, limit int, best *int) {
	if p < f.base {
		limit = min(limit, f.base-p)
	} else if v-p > Window {
		return
	}
	if n := same(f.all[v:v+limit], f.all[p:]); n > *best {
		*best = n
		f.found = append(f.found, match{uint32(n), uint32(v - p)})
	}
}

// same returns how many bytes a and b have in common at the start.
func same(a, b []byte) int {
	n := 0
	for n+8 <= len(a) && n+8 <= len(b) {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
