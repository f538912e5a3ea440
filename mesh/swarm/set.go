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
	if n < 0 || len(b) != (n+7)/8 || (n%8 != 0 && b[len(b)-1]>>(n%8) != 0) {
		return Set{}, errors.New("this is no set of that many chunks")
	}
	return Set{n: n, bits: b}, nil
}

// ParseRuns is the inverse of Runs. Runs that touch, overlap, fall or pass n are refused.
func ParseRuns(n int, runs []int) (Set, error) {
	s, from := NewSet(n), 0
	if len(runs)%2 != 0 {
		return Set{}, errors.New("runs of chunks come in pairs")
	}
	for i := 0; i < len(runs); i += 2 {
		first, count := runs[i], runs[i+1]
		if first < from || count <= 0 || count > n-first {
			return Set{}, errors.New("these are no runs of that many chunks")
		}
		for c := first; c < first+count; c++ {
			s.Add(c)
		}
		from = first + count + 1
	}
	return s, nil
}

// Bytes returns the travelling form, a copy.
func (s Set) Bytes() []byte { return append([]byte(nil), s.bits...) }

// Runs returns the set as first, count, first, count …: short where few or neighbouring numbers are in it.
func (s Set) Runs() []int {
	var runs []int
	for c := range s.n {
		switch {
		case !s.Has(c):
		case c > 0 && s.Has(c-1):
			runs[len(runs)-1]++
		default:
			runs = append(runs, c, 1)
		}
	}
	return runs
}

// Has reports whether i is in the set.
func (s Set) Has(i int) bool { return i>>3 < len(s.bits) && s.bits[i>>3]&(1<<(i&7)) != 0 }

// Add puts i in.
func (s Set) Add(i int) { s.bits[i>>3] |= 1 << (i & 7) }

// Remove takes i out.
func (s Set) Remove(i int) { s.bits[i>>3] &^= 1 << (i & 7) }

// Clone returns a copy.
func (s Set) Clone() Set { return Set{n: s.n, bits: s.Bytes()} }

// Without returns a copy that lacks i.
func (s Set) Without(i int) Set {
	out := s.Clone()
	if out.Has(i) {
		out.Remove(i)
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

// same reports whether both have the same members.
func (s Set) same(as Set) bool { return !s.more(as) && !as.more(s) }

// more reports whether s has a member that old lacks.
func (s Set) more(old Set) bool {
	for i, b := range s.bits {
		if i >= len(old.bits) && b != 0 || i < len(old.bits) && b&^old.bits[i] != 0 {
			return true
		}
	}
	return false
}
