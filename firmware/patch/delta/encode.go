package delta

import (
	"encoding/binary"
	"slices"
)

// Segment says that Length bytes of the target at At resemble what lies at From in the base.
type Segment struct{ At, Length, From int }

// Encode writes the body that rebuilds target, cut into pieces of the given sizes, from base, which is the ranges put
// together. Segments rise and do not overlap; what none covers is written as literals and exact copies.
func Encode(ranges []Range, base, target []byte, sizes []int, segments []Segment) []byte {
	return new(Encoder).Encode(ranges, slices.Concat(base, target), sizes, segments)
}

// Encoder is Encode for whoever writes many bodies: it keeps its memory.
type Encoder struct {
	// Places is memory to use, one for each byte of base and target; what is in it does not matter. It grows when it is
	// too small.
	Places []int32
	find   finder
}

// Encode is [Encode] of a base and, right behind it, a target.
func (k *Encoder) Encode(ranges []Range, joined []byte, sizes []int, segments []Segment) []byte {
	base := 0
	for _, r := range ranges {
		base += int(r.Length)
	}
	covered := 0
	for _, s := range segments {
		covered += s.Length
	}
	window := byte(maxWindow)
	if 2*covered > len(joined)-base {
		window = baseWindow
	}
	c := codeOf(joined[:base])
	e := &tokens{m: newModel(c), window: 1 << window, base: base, all: joined, at: base, find: &k.find}
	e.init()
	if len(k.Places) < len(joined) {
		k.Places = make([]int32, len(joined))
	}
	k.find.prev = k.Places[:len(joined)]
	e.find.init(e.all, e.base, e.window)
	segments = slices.Clone(segments) // they are worn down below
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
	return append(appendRanges([]byte{window, byte(c)}, ranges), e.finish()...)
}

// baseWindow is the window where most comes from the base: devices that apply an upgrade need less memory.
const baseWindow = 20

// tokens writes the tokens of one body. Positions count the base and, behind it, the target.
type tokens struct {
	encoder
	m        *model
	window   int
	all      []byte
	base     int
	at       int
	find     *finder
	parse    parser
	expected []byte // of the base, for a run
}

func (e *tokens) literalByte() {
	m := e.m
	e.bit(&m.copyOrLiteral[m.hist&63], 0)
	t, u, v := e.context(e.at, m.dist[0])
	e.tree3(t, u, v, &m.mixers[m.hist&1], uint32(e.all[e.at]))
	m.hist <<= 1
	e.at++
}

// plainBytes writes n bytes that cannot be predicted.
func (e *tokens) plainBytes(n int) {
	m := e.m
	e.bit(&m.copyOrLiteral[m.hist&63], 1)
	e.tree(m.source[m.hist&7][:], 3, plainBytes)
	e.number(&m.plain, uint32(n))
	for _, c := range e.all[e.at : e.at+n] {
		e.encoder.plain(c)
	}
	m.hist <<= 1
	e.at += n
}

// context returns what predicts a literal at a position.
func (e *tokens) context(at int, dist uint32) (t, u, v []prob) {
	var p1, p2 byte
	if at > e.base {
		p1 = e.all[at-1]
	}
	if at > e.base+1 {
		p2 = e.all[at-2]
	}
	return e.m.literal[p1][:], e.m.paired[pair(p1, p2)][:], e.m.aligned[e.goesOn(at, dist)][:]
}

// goesOn returns the byte with which a copy from dist back would go on.
func (e *tokens) goesOn(at int, dist uint32) byte {
	v := at - int(dist)
	if v < 0 || v >= e.base && int(dist) > e.window {
		return 0
	}
	return e.all[v]
}

func pair(p1, p2 byte) uint32 { return (uint32(p1) | uint32(p2)<<8) * 0x9e3779b1 >> 22 }

func (e *tokens) copyOp(n, dist uint32) {
	m := e.m
	e.bit(&m.copyOrLiteral[m.hist&63], 1)
	kind := kindOf(&m.dist, dist)
	e.tree(m.source[m.hist&7][:], 3, uint32(kind))
	e.number(&m.length[kind], n-minCopy)
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
	if exact == 1 {
		e.at += int(n)
	} else {
		e.runs(src, int(n))
	}
	m.hist = m.hist<<1 | 1
}

// runs writes n bytes that resemble those at src.
func (e *tokens) runs(src, n int) {
	m := e.m
	for end := e.at + n; ; {
		r := e.asExpected(src, end)
		e.number(&m.run[m.lastRun], uint32(r))
		m.lastRun = runClass(uint32(r))
		e.at += r
		src += r
		if e.at == end {
			return
		}
		k := min(4, end-e.at)
		a, b := e.all[src:src+k], e.all[e.at:e.at+k]
		if k < 4 {
			e.bytes(a, b)
		} else {
			old := binary.LittleEndian.Uint32(a)
			diff := binary.LittleEndian.Uint32(b) - old
			symbol := symbolOf(m.words.guess(uint32(src), old), diff)
			e.tree(m.guess[m.lastGuess][:], 3, symbol)
			m.lastGuess = int(symbol)
			if symbol == wordExplicit {
				e.bytes(a, b)
			}
			m.words.learn(uint32(src), old, diff)
		}
		e.at += k
		src += k
		if e.at == end {
			return
		}
	}
}

func symbolOf(guess [guesses]uint32, diff uint32) uint32 {
	if diff == 0 {
		return wordUnchanged
	}
	for i, g := range guess {
		if g == diff {
			return uint32(i)
		}
	}
	return wordExplicit
}

// asExpected returns for how long the target, up to end, is what is expected of the base at src.
func (e *tokens) asExpected(src, end int) int {
	n := end - e.at
	for look := 256; ; look *= 4 {
		look = min(look, n)
		e.expected = append(e.expected[:0], e.all[src:src+min(look+3, n)]...)
		e.m.words.expect(e.expected, look, uint32(src))
		if r := same(e.expected[:look], e.all[e.at:e.at+look]); r < look || look == n {
			return r
		}
	}
}

// bytes writes what changes a into b.
func (e *tokens) bytes(a, b []byte) {
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

// codeOf guesses what kind of code lies in b: calls of which kind lead to places that are in it?
func codeOf(b []byte) code {
	inside := func(to int) int {
		if to >= 0 && to < len(b) {
			return 1
		}
		return 0
	}
	var x86, arm int
	for i := 0; i+5 <= len(b); i++ {
		if b[i] == 0xe8 {
			x86 += inside(i + 5 + int(int32(binary.LittleEndian.Uint32(b[i+1:]))))
		}
		if i&3 == 0 {
			switch w := binary.LittleEndian.Uint32(b[i:]); {
			case w>>26 == 0x25:
				arm += inside(i + int(int32(w<<6)>>4))
			case w>>24 == 0xeb:
				arm += inside(i + int(int32(w<<8)>>6))
			}
		}
	}
	switch {
	case max(x86, arm) < len(b)/4000:
		return codeNone
	case arm > x86:
		return codeARM
	}
	return codeX86
}
