package delta

import "encoding/binary"

// words remembers by how much 32-bit words changed, so that the next change can be guessed. When a program is linked anew,
// what was inserted shifts what follows, and every jump and pointer into a place that moved changes by the same amount as
// the last one into that place did. Where a word points is known well enough without knowing the program: as a distance
// from itself, as a distance in instructions of four bytes, or as it stands.
type words struct {
	code   code
	last   [2]uint32         // newest differences
	byRel  [wordSlots]change // by where the word points when it is relative to itself
	byStep [wordSlots]change // by where it points when it counts instructions
	byAbs  [wordSlots]change // by where it points when it is not relative
	byOld  [wordSlots]change // by what it is, when it is a number that stands in many places
}

type change struct{ key, diff uint32 }

const (
	wordSlots = 1 << 12
	wordBlock = 9 // bits of an address that share a change: about a function
)

// Symbols of a word: the guesses in this order, a word that did not change after all, and one that none of them gives.
const (
	guesses       = 6
	wordUnchanged = 6
	wordExplicit  = 7
)

func relKey(at, old uint32) uint32  { return (at + old) >> wordBlock }
func stepKey(at, old uint32) uint32 { return (at>>2 + old) >> (wordBlock - 2) }
func absKey(old uint32) uint32      { return old >> wordBlock }

func slot(key uint32) uint32 { return key * 0x9e3779b1 >> 20 }

// guess returns differences that the word old at a position of the base may have.
func (w *words) guess(at, old uint32) [guesses]uint32 {
	g := [guesses]uint32{w.last[0], w.last[0], w.last[0], w.last[0], w.last[0], w.last[1]}
	if k := relKey(at, old); w.byRel[slot(k)].key == k {
		g[0] = w.byRel[slot(k)].diff
	}
	if k := absKey(old); w.byAbs[slot(k)].key == k {
		g[1] = w.byAbs[slot(k)].diff
	}
	if k := stepKey(at, old); w.byStep[slot(k)].key == k {
		g[2] = w.byStep[slot(k)].diff
	}
	if w.byOld[slot(old)].key == old {
		g[3] = w.byOld[slot(old)].diff
	}
	return g
}

func (w *words) learn(at, old, diff uint32) {
	k := relKey(at, old)
	w.byRel[slot(k)] = change{k, diff}
	k = absKey(old)
	w.byAbs[slot(k)] = change{k, diff}
	k = stepKey(at, old)
	w.byStep[slot(k)] = change{k, diff}
	w.byOld[slot(old)] = change{old, diff}
	if w.last[0] != diff && diff != 0 {
		w.last[1], w.last[0] = w.last[0], diff
	}
}

// code says how instructions name places, so that a word that is about to change is known by what stands before it.
type code byte

const (
	codeNone code = iota
	codeX86       // distances of 32 bits behind the opcode
	codeARM       // instructions of four bytes with the distance in the lower bits
	codes
)

// expect changes b, which is the base from a position on, into what the target probably has there: words of instructions
// that point into places whose change is known. Only b[:n] counts; words may reach into the rest.
func (w *words) expect(b []byte, n int, at uint32) {
	switch w.code {
	case codeX86:
		w.expectX86(b, n, at)
	case codeARM:
		w.expectARM(b, n, at)
	}
}

// Classes of bytes in x86-64 code.
const (
	jump   = 1 // call and jmp with a distance
	escape = 2 // 0F, which conditional jumps begin with
	direct = 3 // ModRM that names a place relative to the next instruction
)

var x86 = func() (class [256]byte) {
	class[0xe8], class[0xe9], class[0x0f] = jump, jump, escape
	for i := 0x05; i < 0x40; i += 8 {
		class[i] = direct
	}
	return class
}()

// takesModRM lists opcodes that are common before a direct ModRM.
var takesModRM = func() (is [256]bool) {
	for _, c := range []byte{
		0x01, 0x03, 0x0b, 0x23, 0x2b, 0x33, 0x38, 0x39, 0x3a, 0x3b, 0x63, 0x80, 0x81, 0x83, 0x85, 0x87, 0x88, 0x89, 0x8a, 0x8b,
		0x8d, 0xc6, 0xc7, 0xf6, 0xf7, 0xff, 0x10, 0x11, 0x28, 0x29, 0x2e, 0x2f, 0x58, 0x59, 0x5c, 0x5e, 0x6e, 0x6f, 0x7e, 0x7f,
		0xb6, 0xb7, 0xbe, 0xbf, 0xd6, 0xb1, 0xc1,
	} {
		is[c] = true
	}
	return is
}()

func (w *words) expectX86(b []byte, n int, at uint32) {
	for i := 0; i < n; {
		class := x86[b[i]]
		i++
		switch class {
		default:
			continue
		case escape:
			if i >= n || b[i]&0xf0 != 0x80 {
				continue
			}
			i++
		case direct:
			if i < 2 || !takesModRM[b[i-2]] {
				continue
			}
		case jump:
		}
		if i >= n || i+4 > len(b) {
			continue
		}
		old := binary.LittleEndian.Uint32(b[i:])
		k := relKey(at+uint32(i), old)
		if c := &w.byRel[slot(k)]; c.key == k && c.diff != 0 {
			binary.LittleEndian.PutUint32(b[i:], old+c.diff)
			i += 4
		}
	}
}

func (w *words) expectARM(b []byte, n int, at uint32) {
	for i := int(-at & 3); i < n && i+4 <= len(b); i += 4 {
		// BL and B of A64, BL of A32
		if top := b[i+3]; top&0x7c != 0x14 && top != 0xeb {
			continue
		}
		old := binary.LittleEndian.Uint32(b[i:])
		k := stepKey(at+uint32(i), old)
		if c := &w.byStep[slot(k)]; c.key == k {
			binary.LittleEndian.PutUint32(b[i:], old+c.diff)
		}
	}
}
