package delta

import "encoding/binary"

// Op is one step of rebuilding a target: Length bytes that follow as they are (Distance 0), or that resemble what lies
// Distance back in base and target put one behind the other.
type Op struct{ Length, Distance int }

// Stats counts bits, for people who improve the encoder.
type Stats struct {
	Bits [16]float64
	N    [16]int
}

var Debug *Stats

func (e *encoder) mark() int { return len(e.out) + e.held }

// Encode writes the body that rebuilds target, cut into pieces of the given sizes, from base, which is the ranges put
// together. Copies from the target go back Window bytes at most; copies from the base end in the base.
func Encode(ranges []Range, base, target []byte, sizes []int, ops []Op) []byte {
	e := &tokens{m: newModel(), base: base, target: target}
	e.init()
	end, next := 0, 0
	for _, op := range ops {
		for op.Length > 0 {
			if e.at == end {
				end += sizes[next]
				next++
			}
			n := min(op.Length, end-e.at)
			op.Length -= n
			if op.Distance == 0 || n < minCopy {
				for range n {
					e.literalByte()
				}
			} else {
				e.copyOp(uint32(n), uint32(op.Distance))
			}
		}
	}
	return append(appendRanges(nil, ranges), e.finish()...)
}

type tokens struct {
	encoder
	m            *model
	base, target []byte
	at           int // in target
}

func (e *tokens) byteAt(v int) byte {
	if v < len(e.base) {
		return e.base[v]
	}
	return e.target[v-len(e.base)]
}

func (e *tokens) count(kind int, before float64) {
	if Debug != nil {
		Debug.Bits[kind] += e.bitsOut() - before
		Debug.N[kind]++
	}
}

func (e *tokens) bitsOut() float64 {
	return float64(e.mark())*8 + 32 - log2(e.rng)
}

func (e *tokens) literalByte() {
	b0 := e.bitsOut()
	m := e.m
	e.bit(&m.copyOrLiteral[m.hist&63], 0)
	c := e.target[e.at]
	if m.hist&1 == 1 { // right after a copy
		e.tree(m.aligned[e.goesOn()][:], 8, uint32(c))
	} else {
		e.literal(m, c)
	}
	m.hist = m.hist << 1
	e.at++
	e.count(0, b0)
}

func (e *tokens) goesOn() byte {
	dist := int(e.m.dist[0])
	v := len(e.base) + e.at - dist
	if v < 0 || v >= len(e.base) && dist > Window {
		return 0
	}
	return e.byteAt(v)
}

func (e *tokens) literal(m *model, c byte) {
	var p1, p2 byte
	if e.at > 0 {
		p1 = e.target[e.at-1]
	}
	if e.at > 1 {
		p2 = e.target[e.at-2]
	}
	e.tree2(m.literal[p1][:], m.paired[pair(p1, p2)][:], uint32(c))
}

func pair(p1, p2 byte) uint32 { return (uint32(p1) | uint32(p2)<<8) * 0x9e3779b1 >> 20 }

func (e *tokens) copyOp(n, dist uint32) {
	b0 := e.bitsOut()
	m := e.m
	e.bit(&m.copyOrLiteral[m.hist&63], 1)
	kind := sourceFar
	for i, d := range m.dist {
		if d == dist {
			kind = i
			break
		}
	}
	diff := int64(dist) - int64(m.dist[0])
	if kind == sourceFar && diff > -1<<14 && diff < 1<<14 {
		kind = sourceNear
	}
	e.tree(m.source[m.hist&7][:], 3, uint32(kind))
	switch kind {
	case sourceNear:
		if diff < 0 {
			e.bit(&m.nearSign, 1)
			e.number(&m.near[1], uint32(-diff))
		} else {
			e.bit(&m.nearSign, 0)
			e.number(&m.near[0], uint32(diff))
		}
	case sourceFar:
		e.number(&m.far, dist)
	}
	e.count(1+kind, b0)
	b0 = e.bitsOut()
	m.use(kind, dist)
	e.number(&m.length[kind], n-minCopy)
	src := len(e.base) + e.at - int(dist)
	exact := uint32(1)
	for i := range int(n) {
		if e.byteAt(src+i) != e.target[e.at+i] {
			exact = 0
			break
		}
	}
	if src < len(e.base) {
		e.bit(&m.exact[kind][sizeClass(n)], exact)
	}
	e.count(7, b0)
	if exact == 1 {
		e.at += int(n)
	} else {
		e.runs(src, int(n))
	}
	m.hist = m.hist<<1 | 1
}

func (e *tokens) runs(src, n int) {
	m := e.m
	for end := e.at + n; e.at < end; {
		b0 := e.bitsOut()
		r := 0
		for e.at+r < end && e.byteAt(src+r) == e.target[e.at+r] {
			r++
		}
		e.number(&m.run[m.lastRun], uint32(r))
		m.lastRun = runClass(uint32(r))
		e.at += r
		src += r
		e.count(8, b0)
		if e.at == end {
			return
		}
		b0 = e.bitsOut()
		k := min(4, end-e.at)
		var a, b [4]byte
		for i := range k {
			a[i], b[i] = e.byteAt(src+i), e.target[e.at+i]
		}
		old := binary.LittleEndian.Uint32(a[:])
		diff := binary.LittleEndian.Uint32(b[:]) - old
		kind := 9
		if k == 4 {
			g := m.words.guesses(uint32(src), old)
			sym := uint32(candidates)
			for i, x := range g {
				if x == diff {
					sym = uint32(i)
					break
				}
			}
			e.tree(m.guess[m.lastGuess][:], 3, sym)
			m.lastGuess = int(sym)
			if sym == candidates {
				e.word(a[:], b[:])
				kind = 10
			}
			m.words.learn(uint32(src), old, diff)
		} else {
			e.word(a[:k], b[:k])
		}
		e.at += k
		src += k
		e.count(kind, b0)
	}
}

func (e *tokens) word(a, b []byte) {
	m := e.m
	d := b[0] - a[0]
	e.tree(m.first[:], 8, uint32(d))
	for i := 1; i < len(a); i++ {
		prev := d
		d = b[i] - a[i]
		e.tree(m.rest[i-1][carry(prev)][:], 8, uint32(d))
	}
}

// carry classes a difference: none, of the kind that goes on as zero, of the kind that goes on as minus one.
func carry(d byte) int {
	switch {
	case d == 0:
		return 0
	case d < 128:
		return 1
	}
	return 2
}

func runClass(r uint32) int {
	switch {
	case r == 0:
		return 0
	case r < 4:
		return 1
	case r < 8:
		return 2
	case r < 16:
		return 3
	case r < 32:
		return 4
	case r < 64:
		return 5
	case r < 256:
		return 6
	}
	return 7
}

// use notes the distance of a copy.
func (m *model) use(kind int, dist uint32) {
	i := min(kind, reps-1)
	copy(m.dist[1:i+1], m.dist[:i])
	m.dist[0] = dist
}
