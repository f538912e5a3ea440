package delta

import (
	"encoding/binary"
	"math/bits"
)

// How hard the finder looks.
const (
	hashBits = 20
	inTarget = 24  // earlier places of the target with the same four bytes that are looked at
	inBase   = 16  // places of the base with the same six bytes
	enough   = 128 // bytes of a match with which it is content
)

// match is an earlier place with the same bytes.
type match struct{ n, dist uint32 }

// finder finds places with the same bytes: in the target the newest with the same three and a chain of those with the same
// four, in the base a chain of those with the same six, as shorter ones are not worth their distance.
type finder struct {
	all    []byte
	base   int
	window int
	next   int // first position that is not in the chains
	three  []int32
	target []int32
	bases  []int32
	prev   []int32 // the place before with the same hash, by position
	found  []match
}

// init takes up another body. What prev holds is of the one before, and is not looked at.
func (f *finder) init(all []byte, base, window int) {
	f.all, f.base, f.window, f.next = all, base, window, base
	if f.three == nil {
		f.three, f.target, f.bases = make([]int32, 1<<16), make([]int32, 1<<hashBits), make([]int32, 1<<hashBits)
	}
	clear(f.three)
	clear(f.target)
	clear(f.bases)
	for i := 0; i+8 <= base; i++ {
		h := hash6(all[i:])
		f.prev[i] = f.bases[h]
		f.bases[h] = int32(i + 1)
	}
}

// index takes the target up to a position into the chains.
func (f *finder) index(to int) {
	for to = min(to, len(f.all)-3); f.next < to; f.next++ {
		h4, h3 := hash4(f.all[f.next:])
		f.prev[f.next] = f.target[h4]
		f.target[h4] = int32(f.next + 1)
		f.three[h3] = int32(f.next + 1)
	}
}

func hash4(b []byte) (h4, h3 uint32) {
	v := binary.LittleEndian.Uint32(b)
	return v * 0x9e3779b1 >> (32 - hashBits), v << 8 * 0x85ebca6b >> 16
}

func hash6(b []byte) uint32 {
	return uint32(binary.LittleEndian.Uint64(b) << 16 * 0x9fb21c651e98df25 >> (64 - hashBits))
}

// at returns matches for the bytes at position v, each longer than the one before, at most limit bytes long.
func (f *finder) at(v, limit int) []match {
	f.found = f.found[:0]
	f.index(v)
	if limit < 4 {
		return nil
	}
	h4, h3 := hash4(f.all[v:])
	best := 2
	if p := int(f.three[h3]) - 1; p >= 0 && p >= v-f.window {
		f.take(v, p, limit, &best)
	}
	for p, k := int(f.target[h4])-1, inTarget; p >= v-f.window && p >= 0 && k > 0 && best < enough && best < limit; p, k = int(f.prev[p])-1, k-1 {
		if f.all[p+best] == f.all[v+best] {
			f.take(v, p, limit, &best)
		}
	}
	if limit < 8 {
		return f.found
	}
	best = max(best, 5)
	for p, k := int(f.bases[hash6(f.all[v:])])-1, inBase; p >= 0 && k > 0 && best < enough && best < limit; p, k = int(f.prev[p])-1, k-1 {
		if p+best < f.base && f.all[p+best] == f.all[v+best] {
			f.take(v, p, min(limit, f.base-p), &best)
		}
	}
	return f.found
}

func (f *finder) take(v, p, limit int, best *int) {
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
