package delta

import "math"

// The parser finds the cheapest tokens for a stretch of the target: for each position the cheapest way there, by what the
// model asks for each token at the moment (as LZMA's optimal parser does).

const (
	block     = 4096 // positions of one search
	maxPriced = 272  // lengths that have their price in a table
)

// price of a bit, in 1/64 bit, by the upper bits of its probability.
var bitPrice = func() (t [1 << 8]uint32) {
	for i := range t {
		t[i] = uint32(-64*math.Log2((float64(i)+0.5)/(1<<8)) + 0.5)
	}
	return t
}()

func (p prob) price(b uint32) uint32 { return priceOf(p.p(), b) }

func priceOf(p, b uint32) uint32 {
	if b == 1 {
		p = 1<<probBits - p
	}
	return bitPrice[p>>(probBits-8)&0xff]
}

func treePrice(t []prob, n int, v uint32) (sum uint32) {
	m := uint32(1)
	for i := n - 1; i >= 0; i-- {
		b := v >> i & 1
		sum += t[m].price(b)
		m = m<<1 | b
	}
	return sum
}

func tree3Price(t, u, w []prob, x *[256]mixer, v uint32) (sum uint32) {
	m := uint32(1)
	for i := 7; i >= 0; i-- {
		b := v >> i & 1
		mixed, _, _, _ := x[m].mix(t[m].p(), u[m].p(), w[m].p())
		sum += priceOf(mixed, b)
		m = m<<1 | b
	}
	return sum
}

// prices of numbers by size and by the two bits below the highest.
type numberPrice [33][4]uint32

func (p *numberPrice) from(n *number) {
	for size := range p {
		length := treePrice(n.length[:], 6, uint32(size))
		if size <= 1 {
			p[size][0] = length
			continue
		}
		k := min(size-1, 2)
		for u := range uint32(1) << k {
			p[size][u] = length + treePrice(n.upper[size][:], k, u) + 64*uint32(size-1-k)
		}
	}
}

func (p *numberPrice) of(v uint32) uint32 {
	size := sizeOf(v)
	if size <= 1 {
		return p[size][0]
	}
	k := min(size-1, 2)
	return p[size][v>>(size-1-k)&(1<<k-1)]
}

type parser struct {
	nodes  [block + 1]node
	length [6][maxPriced + 1]uint32
	far    [4]numberPrice
	near   [2]numberPrice
	low    [1 << lowBits]uint32
	steps  []match
	stale  int // position from which the tables are out of date
}

type node struct {
	cost uint32
	n    uint32 // of the token that leads here
	dist uint32 // 0: a literal
	hist uint32
	last [reps]uint32
}

// gap writes everything up to end.
func (e *tokens) gap(end int) {
	for e.at < end {
		e.search(min(end, e.at+block), end)
	}
}

func (e *tokens) prepare() {
	p := &e.parse
	var n numberPrice
	for k := range p.length {
		n.from(&e.m.length[k])
		for i := minCopy; i <= maxPriced; i++ {
			p.length[k][i] = n.of(uint32(i - minCopy))
		}
	}
	for k := range p.far {
		p.far[k].from(&e.m.far[k])
	}
	for k := range p.near {
		p.near[k].from(&e.m.near[k])
	}
	for i := range p.low {
		p.low[i] = treePrice(e.m.low[:], lowBits, uint32(i))
	}
}

// search finds the cheapest tokens from here to end, and writes them. Where a long copy begins it goes no further, and
// writes the copy as far as limit.
func (e *tokens) search(end, limit int) {
	p := &e.parse
	if e.at >= p.stale {
		e.prepare()
		p.stale = e.at + block/2
	}
	n := end - e.at
	for i := 1; i <= n; i++ {
		p.nodes[i].cost = math.MaxUint32
	}
	p.nodes[0] = node{hist: e.m.hist, last: e.m.dist}
	stop := n
	var long match
	for i := range n {
		at := e.at + i
		d := &p.nodes[i]
		if i > 0 {
			before := &p.nodes[i-int(d.n)]
			d.last = before.last
			if d.dist == 0 {
				d.hist = before.hist << 1
			} else {
				d.hist = before.hist<<1 | 1
				use(&d.last, kindOf(&d.last, d.dist), d.dist)
			}
		}
		found := e.find.at(at, limit-at)
		if k := len(found); k > 0 && found[k-1].n >= enough {
			stop, long = i, found[k-1]
			for _, r := range d.last { // the same from a place that is cheap to name
				if m := e.repeats(at, limit, r); m >= int(long.n) {
					long = match{uint32(m), r}
					break
				}
			}
			break
		}
		flag := e.m.copyOrLiteral[d.hist&63]
		t, u, v := e.context(at, d.last[0])
		p.relax(i, 1, 0, d.cost+flag.price(0)+tree3Price(t, u, v, &e.m.mixers[d.hist&1], uint32(e.all[at])))
		copying := d.cost + flag.price(1)
		source := e.m.source[d.hist&7][:]
		for k, dist := range d.last {
			m := e.repeats(at, end, dist)
			if m < minCopy {
				continue
			}
			c := copying + treePrice(source, 3, uint32(k)) + e.exactPrice(at, k, dist, m)
			for l := min(m, maxPriced); l >= minCopy; l-- {
				p.relax(i, l, dist, c+p.length[k][l])
			}
		}
		l := minCopy
		far, near := copying+treePrice(source, 3, sourceFar), copying+treePrice(source, 3, sourceNear)
		for _, m := range found {
			k := kindOf(&d.last, m.dist)
			if k < reps {
				continue
			}
			c, exact := far, e.exactPrice(at, k, m.dist, int(m.n))
			diff := m.dist - d.last[0]
			switch {
			case k == sourceFar:
				c += p.low[m.dist&(1<<lowBits-1)]
			case int32(diff) < 0:
				c = near + e.m.nearSign.price(1) + p.near[1].of(-diff)
			default:
				c = near + e.m.nearSign.price(0) + p.near[0].of(diff)
			}
			for ; l <= min(int(m.n), maxPriced, end-at); l++ {
				x := c + exact + p.length[k][l]
				if k == sourceFar {
					x += p.far[lengthClass(uint64(l))].of(m.dist >> lowBits)
				}
				p.relax(i, l, m.dist, x)
			}
		}
	}
	if stop > 0 && p.nodes[stop].cost >= uint32(stop)*8*64 {
		e.plainBytes(stop)
		stop = 0
	}
	p.steps = p.steps[:0]
	for i := stop; i > 0; i -= int(p.nodes[i].n) {
		p.steps = append(p.steps, match{p.nodes[i].n, p.nodes[i].dist})
	}
	for i := len(p.steps) - 1; i >= 0; i-- {
		e.write(p.steps[i])
	}
	if long.n > 0 {
		e.write(long)
	}
}

func (e *tokens) write(s match) {
	if s.dist == 0 {
		e.literalByte()
	} else {
		e.copyOp(s.n, s.dist)
	}
}

func (e *tokens) exactPrice(at, kind int, dist uint32, n int) uint32 {
	if at-int(dist) >= e.base {
		return 0
	}
	return e.m.exact[kind][sizeClass(uint32(n))].price(1)
}

// repeats returns how many bytes at a position are the same dist back.
func (e *tokens) repeats(at, end int, dist uint32) int {
	p := at - int(dist)
	if p < 0 {
		return 0
	}
	if p < e.base {
		end = min(end, at+e.base-p)
	} else if int(dist) > e.window {
		return 0
	}
	return same(e.all[at:end], e.all[p:])
}

func (p *parser) relax(i, n int, dist, cost uint32) {
	if d := &p.nodes[i+n]; cost < d.cost {
		d.cost, d.n, d.dist = cost, uint32(n), dist
	}
}
