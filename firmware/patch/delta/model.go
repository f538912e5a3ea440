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
)

const (
	reps       = 4
	candidates = 4 // differences that a word is guessed to have
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
	length        [6]number
	exact         [6][16]prob
	run           [8]number
	guess         [8][8]prob
	first         [256]prob
	rest          [3][3][256]prob
	literal       [256][256]prob        // after a byte
	paired        [litContext][256]prob // after two bytes, hashed
	aligned       [256][256]prob        // where a copy would have gone on with this byte

	dist               [reps]uint32
	hist               uint32 // kinds of the last tokens, newest lowest
	lastRun, lastGuess int
	words              words
}

func newModel() *model {
	m := new(model)
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
	m.nearSign = prob{half, half}
	for i := range m.far {
		m.far[i].reset()
	}
	reset(m.low[:])
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
	m.dist = [reps]uint32{1, 2, 3, 4}
	m.hist, m.lastRun, m.lastGuess = 0, 0, 0
	m.words.reset()
}

// words remembers by how much 32-bit words changed, so that the next change can be guessed: a jump or a pointer into a
// place that moved changes as the last one into that place did.
type words struct {
	last  [2]uint32
	byRel [1 << 12]entry // by where the word points when it is relative to itself
	byAbs [1 << 12]entry // by where it points when it is not
}

type entry struct{ key, diff uint32 }

const wordBlock = 9 // bits of an address that share a guess

func (w *words) reset() { *w = words{} }

func slot(key uint32) uint32 { return key * 0x9e3779b1 >> 20 }

// guesses returns the candidates for the word old at source position at.
func (w *words) guesses(at, old uint32) [candidates]uint32 {
	var g [candidates]uint32
	g[2], g[3] = w.last[0], w.last[1]
	g[0], g[1] = g[2], g[2]
	rel := (at + old) >> wordBlock
	if e := &w.byRel[slot(rel)]; e.key == rel {
		g[0] = e.diff
	}
	abs := old >> wordBlock
	if e := &w.byAbs[slot(abs)]; e.key == abs {
		g[1] = e.diff
	}
	return g
}

func (w *words) learn(at, old, diff uint32) {
	rel := (at + old) >> wordBlock
	w.byRel[slot(rel)] = entry{rel, diff}
	abs := old >> wordBlock
	w.byAbs[slot(abs)] = entry{abs, diff}
	if w.last[0] != diff {
		w.last[1], w.last[0] = w.last[0], diff
	}
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
