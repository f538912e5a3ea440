package encode

import "math/bits"

// window is how many bytes an anchor spans: short enough to fit between two addresses that moved.
const window = 24

// maxAnchors bounds the memory: 16 bytes each at most.
const maxAnchors = 8 << 20

// perKey is how many places of one anchor are kept: more would be a pattern that is everywhere.
const perKey = 4

// anchors finds places of the base that share content with a piece of the target. A rolling hash (cyclic polynomial) of
// every window is taken; content decides which windows count, so the same windows count in base and target.
type anchors struct {
	slots []uint64 // 24 bits of the key, 40 bits of position + 1
	mask  uint32   // which windows count
	n     int
}

var table = func() (t [256]uint32) {
	x := uint64(0x9e3779b97f4a7c15)
	for i := range t {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		t[i] = uint32(x >> 20)
	}
	return t
}()

// newAnchors prepares for a base of size bytes.
func newAnchors(size int64) *anchors {
	step := uint32(16)
	for size/int64(step) > maxAnchors {
		step *= 2
	}
	want := int(size/int64(step))*3/2 + 1024
	return &anchors{slots: make([]uint64, 1<<bits.Len(uint(want))), mask: step - 1}
}

// each calls f with the key and the start of every window that counts.
func (a *anchors) each(b []byte, f func(key uint64, at int)) {
	if len(b) < window {
		return
	}
	var h uint32
	for _, c := range b[:window] {
		h = bits.RotateLeft32(h, 1) ^ table[c]
	}
	for i := window; ; i++ {
		if x := h * 0x85ebca6b; x>>8&a.mask == 0 {
			f(uint64(h)*0x9e3779b97f4a7c15, i-window)
		}
		if i == len(b) {
			return
		}
		h = bits.RotateLeft32(h, 1) ^ table[b[i]] ^ bits.RotateLeft32(table[b[i-window]], window)
	}
}

const posMask = 1<<40 - 1

func (a *anchors) add(b []byte, offset int64) {
	a.each(b, func(key uint64, at int) {
		if a.n*4 > len(a.slots)*3 {
			return
		}
		tag := key >> 40 << 40
		same := 0
		for i := key & uint64(len(a.slots)-1); ; i = (i + 1) & uint64(len(a.slots)-1) {
			s := a.slots[i]
			if s == 0 {
				a.slots[i] = tag | uint64(offset+int64(at)+1)
				a.n++
				return
			}
			if s>>40 == tag>>40 {
				if same++; same == perKey {
					return
				}
			}
		}
	})
}

func (a *anchors) look(key uint64, f func(at int64)) {
	for i := key & uint64(len(a.slots)-1); a.slots[i] != 0; i = (i + 1) & uint64(len(a.slots)-1) {
		if s := a.slots[i]; s>>40 == key>>40 {
			f(int64(s&posMask) - 1)
		}
	}
}
