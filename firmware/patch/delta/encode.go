package delta

import "encoding/binary"

// Stats counts bits, for people who improve the encoder.
type Stats struct {
	Bits [16]float64
	N    [16]int
}

var Debug *Stats

func (e *encoder) mark() int { return len(e.out) + e.held }

// Segment says that Length bytes of the target at At resemble what lies at From in the base.
type Segment struct{ At, Length, From int }

// Encode writes the body that rebuilds target, cut into pieces of the given sizes, from base, which is the ranges put
// together. Segments rise and do not overlap; what none covers is written as literals and exact copies.
func Encode(ranges []Range, base, target []byte, sizes []int, segments []Segment) []byte {
	e := &tokens{m: newModel(), base: len(base), all: append(append(make([]byte, 0, len(base)+len(target)), base...), target...)}
	e.at = e.base
	e.init()
	e.find.init(e.all, e.base)
	end := e.base
	for _, n := range sizes {
		end += n
		for len(segments) > 0 && e.base+segments[0].At < end {
			s := &segments[0]
			e.gap(e.base + s.At)
			k := min(s.Length, end-e.at)
			if k < minCopy {
				e.gap(e.at + k)
			} else {
				e.copyOp(uint32(k), uint32(e.at-s.From))
			}
			s.At, s.From, s.Length = s.At+k, s.From+k, s.Length-k
			if s.Length == 0 {
				segments = segments[1:]
			}
		}
		e.gap(end)
	}
	return append(appendRanges(nil, ranges), e.finish()...)
}

// tokens writes the tokens of one body. Positions count the base and, behind it, the target.
type tokens struct {
	encoder
	m     *model
	all   []byte
	base  int
	at    int
	find  finder
	parse parser
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
	t, u := e.context(e.at, m.hist, m.dist[0])
	e.tree2(t, u, uint32(e.all[e.at]))
	m.hist <<= 1
	e.at++
	e.count(0, b0)
}

// context returns what predicts a literal at a position.
func (e *tokens) context(at int, hist, dist uint32) (t, u []prob) {
	var p1, p2 byte
	if at > e.base {
		p1 = e.all[at-1]
	}
	if at > e.base+1 {
		p2 = e.all[at-2]
	}
	if hist&1 == 1 { // right after a copy
		return e.m.literal[p1][:], e.m.aligned[e.goesOn(at, dist)][:]
	}
	return e.m.literal[p1][:], e.m.paired[pair(p1, p2)][:]
}

// goesOn returns the byte with which a copy from dist back would go on.
func (e *tokens) goesOn(at int, dist uint32) byte {
	v := at - int(dist)
	if v < 0 || v >= e.base && dist > Window {
		return 0
	}
	return e.all[v]
}

func pair(p1, p2 byte) uint32 { return (uint32(p1) | uint32(p2)<<8) * 0x9e3779b1 >> 22 }

func (e *tokens) copyOp(n, dist uint32) {
	b0 := e.bitsOut()
	m := e.m
	e.bit(&m.copyOrLiteral[m.hist&63], 1)
	kind := kindOf(&m.dist, dist)
	e.tree(m.source[m.hist&7][:], 3, uint32(kind))
	e.count(1+kind, b0)
	b0 = e.bitsOut()
	e.number(&m.length[kind], n-minCopy)
	e.count(7, b0)
	b0 = e.bitsOut()
	diff := dist - m.dist[0]
	switch kind {
	case sourceNear:
		if int32(diff) < 0 {
			e.bit(&m.nearSign, 1)
			e.number(&m.near[1], -diff)
		} else {
			e.bit(&m.nearSign, 0)
			e.number(&m.near[0], diff)
		}
	case sourceFar:
		e.number(&m.far[lengthClass(uint64(n))], dist>>lowBits)
		e.tree(m.low[:], lowBits, dist&(1<<lowBits-1))
	}
	m.use(kind, dist)
	e.count(1+kind, b0)
	b0 = e.bitsOut()
	src := e.at - int(dist)
	exact := uint32(1)
	for i := range int(n) {
		if e.all[src+i] != e.all[e.at+i] {
			exact = 0
			break
		}
	}
	if src < e.base {
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
		for e.at+r < end && e.all[src+r] == e.all[e.at+r] {
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
			a[i], b[i] = e.all[src+i], e.all[e.at+i]
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

// kindOf returns how a distance is named.
func kindOf(last *[reps]uint32, dist uint32) int {
	for i, d := range last {
		if d == dist {
			return i
		}
	}
	if diff := dist - last[0]; diff+nearLimit < 2*nearLimit {
		return sourceNear
	}
	return sourceFar
}
