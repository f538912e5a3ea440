package delta

import "math/bits"

// number codes unsigned integers: how many bits they have by a tree, the next two bits by a tree for each length, the
// rest as they are.
type number struct {
	length [64]prob
	upper  [33][4]prob
}

func (n *number) reset() {
	reset(n.length[:])
	for i := range n.upper {
		reset(n.upper[i][:])
	}
}

func (d *decoder) number(n *number) uint32 {
	size := int(d.tree(n.length[:], 6))
	if size <= 1 || size > 32 {
		return uint32(size & 1)
	}
	v := uint32(1)
	k := min(size-1, 2)
	v = v<<k | d.tree(n.upper[size][:], k)
	return v<<(size-1-k) | d.raw(size-1-k)
}

func (e *encoder) number(n *number, v uint32) {
	size := bits.Len32(v)
	e.tree(n.length[:], 6, uint32(size))
	if size <= 1 {
		return
	}
	k := min(size-1, 2)
	rest := size - 1 - k
	e.tree(n.upper[size][:], k, v>>rest&(1<<k-1))
	e.raw(rest, v&(1<<rest-1))
}

// Where a copy comes from.
const (
	sourceRep  = 0 // .. 3: as far back as one of the last four copies
	sourceNear = 4 // a little before or after where the last copy would go on
	sourceFar  = 5 // anywhere
	plainBytes = 6 // no copy: bytes that cannot be predicted
)

const (
	reps       = 4
	minCopy    = 2
	lowBits    = 4
	nearLimit  = 1 << 14
	litContext = 1 << 10
)

// model is everything that adapts; encoder and decoder change it alike.
type model struct {
	copyOrLiteral [64]prob
	source        [8][8]prob
	near          [2]number // by sign
	nearSign      prob
	far           [4]number // by length
	low           [16]prob  // lowest bits of a far distance
	plain         number    // how many bytes that cannot be predicted
	length        [6]number
	exact         [6][16]prob
	run           [8]number
	guess         [8][8]prob // by the symbol before
	first         [256]prob
	rest          [3][3][256]prob
	literal       [256][256]prob        // after a byte
	paired        [litContext][256]prob // after two bytes, hashed
	aligned       [256][256]prob        // where a copy would have gone on with this byte

	mixers             [2][256]mixer // of literals: elsewhere, and after a copy
	dist               [reps]uint32
	hist               uint32 // kinds of the last tokens, newest lowest
	lastRun, lastGuess int
	words              words
}

func newModel(c code) *model {
	m := &model{words: words{code: c}}
	m.reset()
	return m
}

func (m *model) reset() {
	reset(m.copyOrLiteral[:])
	for i := range m.source {
		reset(m.source[i][:])
	}
	for i := range m.near {
		m.near[i].reset()
	}
	m.nearSign = half
	for i := range m.far {
		m.far[i].reset()
	}
	reset(m.low[:])
	m.plain.reset()
	for i := range m.length {
		m.length[i].reset()
	}
	for i := range m.exact {
		reset(m.exact[i][:])
	}
	for i := range m.run {
		m.run[i].reset()
	}
	for i := range m.guess {
		reset(m.guess[i][:])
	}
	reset(m.first[:])
	for i := range m.rest {
		for j := range m.rest[i] {
			reset(m.rest[i][j][:])
		}
	}
	for i := range m.literal {
		reset(m.literal[i][:])
	}
	for i := range m.paired {
		reset(m.paired[i][:])
	}
	for i := range m.aligned {
		reset(m.aligned[i][:])
	}
	for i := range m.mixers {
		for j := range m.mixers[i] {
			m.mixers[i][j] = mixer{[3]int32{3 << 13, 3 << 13, 3 << 13}}
		}
	}
	m.dist = [reps]uint32{1, 2, 3, 4}
	m.hist, m.lastRun, m.lastGuess = 0, 0, 0
	m.words = words{code: m.words.code}
}

func lengthClass(n uint64) int { return int(min(n-minCopy, 3)) }

func sizeOf(v uint32) int { return bits.Len32(v) }

func sizeClass(v uint32) int { return min(bits.Len32(v), 15) }

// use notes the distance of a copy.
func (m *model) use(kind int, dist uint32) { use(&m.dist, kind, dist) }

func use(last *[reps]uint32, kind int, dist uint32) {
	i := min(kind, reps-1)
	copy(last[1:i+1], last[:i])
	last[0] = dist
}
