package swarm

import (
	"errors"
	"math/bits"
)

// Set is a set of chunk numbers, one bit each. Its bytes travel as they are: chunk i is bit i%8 of byte i/8.
type Set struct {
	n    int
	bits []byte
}

// NewSet returns an empty set of numbers below n.
func NewSet(n int) Set { return Set{n: n, bits: make([]byte, (n+7)/8)} }

// ParseSet reads a set of numbers below n. Other lengths, and bits beyond n, are refused.
func ParseSet(n int, b []byte) (Set, error) {
	if len(b) != (n+7)/8 || (n%8 != 0 && b[len(b)-1]>>(n%8) != 0) {
		return Set{}, errors.New("this is no set of that many chunks")
	}
	return Set{n: n, bits: b}, nil
}

// Bytes returns the travelling form, a copy.
func (s Set) Bytes() []byte { return append([]byte(nil), s.bits...) }

// Has reports whether i is in the set.
func (s Set) Has(i int) bool { return i>>3 < len(s.bits) && s.bits[i>>3]&(1<<(i&7)) != 0 }

// Add puts i in.
func (s Set) Add(i int) { s.bits[i>>3] |= 1 << (i & 7) }

// Without returns a copy that lacks i.
func (s Set) Without(i int) Set {
	out := Set{n: s.n, bits: s.Bytes()}
	if out.Has(i) {
		out.bits[i>>3] &^= 1 << (i & 7)
	}
	return out
}

// Count returns the size of the set.
func (s Set) Count() int {
	n := 0
	for _, b := range s.bits {
		n += bits.OnesCount8(b)
	}
	return n
}

// countIn counts the members in a group; a group is a whole number of bytes.
func (s Set) countIn(g int) int {
	n := 0
	for i := g * GroupSize / 8; i < min((g+1)*GroupSize/8, len(s.bits)); i++ {
		n += bits.OnesCount8(s.bits[i])
	}
	return n
}
