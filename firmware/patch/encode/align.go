package encode

import (
	"encoding/binary"
	"math"

	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

// Prices in bits that guide the search; the coder's real ones adapt.
var (
	priceMatch float32 = 0.06
	priceKnown float32 = 6
	priceWord  float32 = 24
	priceCopy  float32 = 26
	pricePlain float32 = 3.0
	depth              = 4
)

const (
	seed      = 12
	slots     = 12
	backwards = 512
)

type lane struct {
	diag  int // source position − target position
	cost  float32
	entry int
	left  int
	live  bool
	bad   int // how often beginning anew was cheaper, since it last matched well
}

// align finds the cheapest way to follow the base along changing alignments, as Viterbi's algorithm does: a state for each
// alignment in sight and one for bytes that follow nothing.
func align(base, target []byte) []delta.Segment {
	n := len(target)
	if len(base) < seed || n < seed {
		return nil
	}
	x := newChains(base, seed, 20)
	best := make([]float32, n+1) // of anything, up to here
	from := make([]int32, n+1)   // entry of the best
	diag := make([]int32, n+1)   // its diag; none for plain
	const none = math.MinInt32
	var lanes [slots]lane
	var seen known
	plain, plainEntry := float32(0), 0
	for i := 0; i < n; i++ {
		explained := false
		for k := range lanes {
			l := &lanes[k]
			if !l.live {
				continue
			}
			p := i + l.diag
			if p < 0 || p >= len(base) {
				l.live = false
				continue
			}
			if l.left > 0 {
				l.left--
				continue
			}
			if base[p] == target[i] {
				l.cost += priceMatch
				if i+seed <= n && p+seed <= len(base) && binary.LittleEndian.Uint64(base[p:]) == binary.LittleEndian.Uint64(target[i:]) {
					explained = true
					l.bad = 0
				}
			} else {
				l.cost += seen.price(base, target, p, i)
				l.left = 3
			}
		}
		plain += pricePlain
		if !explained && i+seed <= n {
			x.look(target[i:], depth, func(p int) {
				d := p - i
				worst := 0
				for k := range lanes {
					if lanes[k].live && lanes[k].diag == d {
						return
					}
					if !lanes[k].live {
						worst = k
					} else if lanes[worst].live && lanes[k].cost > lanes[worst].cost {
						worst = k
					}
				}
				// how far back does it pay to have begun?
				var acc float32
				bestCost, bestAt := best[i]+priceCopy, i
				left := 0
				for j := i - 1; j >= max(0, i-backwards) && j+d >= 0; j-- {
					if left > 0 {
						left--
					} else if base[j+d] == target[j] {
						acc += priceMatch
					} else {
						acc += seen.price(base, target, j+d, j)
						left = 3
					}
					if c := best[j] + priceCopy + acc; c < bestCost {
						bestCost, bestAt = c, j
					}
				}
				lanes[worst] = lane{diag: d, cost: bestCost + priceMatch, entry: bestAt, live: true}
			})
		}
		b, e, dg := plain, plainEntry, none
		for k := range lanes {
			if l := &lanes[k]; l.live && l.cost < b {
				b, e, dg = l.cost, l.entry, l.diag
			}
		}
		best[i+1], from[i+1], diag[i+1] = b, int32(e), int32(dg)
		if b+8 < plain {
			plain, plainEntry = b+8, i+1
		}
		for k := range lanes {
			if l := &lanes[k]; l.live && l.cost > b+priceCopy {
				l.cost, l.entry, l.left = b+priceCopy, i+1, 0
				if l.bad++; l.bad > 400 {
					l.live = false
				}
			}
		}
	}
	var out []delta.Segment
	for i := n; i > 0; {
		e := int(from[i])
		if diag[i] != none {
			out = append(out, delta.Segment{At: e, Length: i - e, From: e + int(diag[i])})
		}
		i = e
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// chains finds earlier places that begin with the same bytes.
type chains struct {
	b    []byte
	n    int
	bits int
	head []int32
	prev []int32
}

func newChains(b []byte, n, bits int) *chains {
	c := &chains{b: b, n: n, bits: bits, head: make([]int32, 1<<bits), prev: make([]int32, len(b))}
	for i := 0; i+max(8, n) <= len(b); i++ {
		c.add(i)
	}
	return c
}

func (c *chains) add(i int) {
	h := c.hash(c.b[i:])
	c.prev[i] = c.head[h]
	c.head[h] = int32(i + 1)
}

func (c *chains) hash(b []byte) uint32 {
	v := binary.LittleEndian.Uint64(b)
	if c.n < 8 {
		v <<= 8 * (8 - c.n)
	} else if c.n > 8 {
		v ^= uint64(binary.LittleEndian.Uint32(b[8:])) * 0x9e3779b97f4a7c15
	}
	return uint32(v * 0x9fb21c651e98df25 >> (64 - c.bits))
}

func (c *chains) look(b []byte, depth int, f func(p int)) {
	if len(b) < max(8, c.n) {
		return
	}
	for p := c.head[c.hash(b)]; p != 0 && depth > 0; p, depth = c.prev[p-1], depth-1 {
		at := int(p - 1)
		if at+c.n <= len(c.b) && string(c.b[at:at+c.n]) == string(b[:c.n]) {
			f(at)
		}
	}
}

// known remembers differences of words that were seen lately: they are cheap to name.
type known [1 << 12]struct {
	diff uint32
	at   int
}

func (k *known) price(base, target []byte, p, i int) float32 {
	if p+4 > len(base) || i+4 > len(target) {
		return priceWord
	}
	d := binary.LittleEndian.Uint32(target[i:]) - binary.LittleEndian.Uint32(base[p:])
	e := &k[d*0x9e3779b1>>20]
	price := priceWord
	if e.diff == d && i-e.at < 1<<16 {
		price = priceKnown
	}
	e.diff, e.at = d, i
	return price
}
