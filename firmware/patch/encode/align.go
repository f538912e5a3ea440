package encode

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

// price is in 1/64 bit. Prices guide the search; the coder's real ones adapt. They were found by trial on images of Debian.
type price = uint32

const (
	priceMatch price = 4       // a byte that is the same
	priceKnown price = 6 * 64  // a word whose difference was seen lately
	priceWord  price = 24 * 64 // a word that is otherwise different
	priceCopy  price = 26 * 64 // another alignment
	priceEnd   price = 8 * 64  // to follow nothing after an alignment
)

const (
	laneCount = 12  // alignments that are followed at a time
	backwards = 512 // bytes that an alignment may have begun before the seed that told of it
	patience  = 400 // times that an alignment may be beaten before it is forgotten
	wordSize  = 4   // bytes that are taken as changed together
)

// lane is an alignment that is followed: the byte of the target at i is compared with that of the base at i + diag.
type lane struct {
	live  bool
	diag  int
	cost  price // of everything up to here, the last part along this lane
	entry int   // where that part begins
	left  int   // bytes of a changed word that are still to come
	bad   int   // how often it was beaten since it last matched well
}

// step is the last part of the cheapest way to a position: where it begins, and along which diag or along nothing.
type step struct{ from, diag int32 }

const nothing = math.MinInt32

// aligner finds the cheapest way to follow a base along changing alignments, as Viterbi's algorithm does: a state for each
// alignment in sight and one for bytes that follow nothing. It keeps its memory: eight bytes for each
// of the target.
type aligner struct {
	base, target []byte
	seeds        seeds
	known        known
	lanes        [laneCount]lane
	plain        lane
	steps        []step
	costs        [2 * backwards]price // of the cheapest ways to the last positions
	each         price                // of a byte that follows nothing
}

// align returns the parts of the target that resemble the base. The target is pieces
// of the given sizes, which cost as much as stored says when they are compressed on their own. places is memory to use, one
// for each byte of the base.
func (a *aligner) align(base, target []byte, sizes []int, stored []int64, places []int32) []delta.Segment {
	if len(base) < seedSize || len(target) < seedSize {
		return nil
	}
	*a = aligner{base: base, target: target, seeds: a.seeds, steps: a.steps}
	a.seeds.init(base, places)
	if cap(a.steps) < len(target)+1 {
		a.steps = make([]step, len(target)+1)
	}
	a.steps = a.steps[:len(target)+1]
	i := 0
	for k, n := range sizes {
		a.each = plainPrice(n, stored[k])
		for end := i + n; i < end; i++ {
			if !a.follow(i) {
				a.seeds.look(target[i:], func(at int) { a.begin(i, at-i) })
			}
			a.settle(i)
		}
	}
	return a.trace()
}

// plainPrice is what a byte of a piece costs that follows nothing: half of what the piece takes when it is compressed alone,
// at most two bits. The parser finds more in the context of a group than zstd in a chunk, and what follows nothing is the
// more repetitive part.
func plainPrice(size int, stored int64) price {
	return min(max(price(stored*8*64/2/int64(size)), 16), 2*64)
}

// cost returns the price of the cheapest way to a position, one of the last.
func (a *aligner) cost(i int) *price { return &a.costs[i%len(a.costs)] }

// follow moves every lane over the byte at i and reports whether one of them explains what comes.
func (a *aligner) follow(i int) (explained bool) {
	for k := range a.lanes {
		l := &a.lanes[k]
		if !l.live {
			continue
		}
		p := i + l.diag
		switch {
		case p >= len(a.base):
			l.live = false
		case l.left > 0:
			l.left--
		case a.base[p] != a.target[i]:
			l.cost += a.known.price(a.base, a.target, p, i)
			l.left = wordSize - 1
		default:
			l.cost += priceMatch
			if p+8 <= len(a.base) && i+8 <= len(a.target) &&
				binary.LittleEndian.Uint64(a.base[p:]) == binary.LittleEndian.Uint64(a.target[i:]) {
				explained = true
				l.bad = 0
			}
		}
	}
	a.plain.cost += a.each
	return explained
}

// begin takes up an alignment that a seed at i tells of, from where it pays to have followed it.
func (a *aligner) begin(i, diag int) {
	worst := &a.lanes[0]
	for k := range a.lanes {
		l := &a.lanes[k]
		if l.live && l.diag == diag {
			return
		}
		if worst.live && (!l.live || l.cost > worst.cost) {
			worst = l
		}
	}
	best, entry := *a.cost(i)+priceCopy, i
	left, sum := 0, price(0)
	for j := i - 1; j >= max(0, i-backwards, -diag); j-- {
		switch {
		case left > 0:
			left--
		case a.base[j+diag] == a.target[j]:
			sum += priceMatch
		default:
			sum += a.known.price(a.base, a.target, j+diag, j)
			left = wordSize - 1
		}
		if c := *a.cost(j) + priceCopy + sum; c < best {
			best, entry = c, j
		}
	}
	*worst = lane{live: true, diag: diag, cost: best + priceMatch, entry: entry}
}

// settle notes the cheapest way over the byte at i and lets what is dearer begin anew from there.
func (a *aligner) settle(i int) {
	cost, s := a.plain.cost, step{from: int32(a.plain.entry), diag: nothing}
	for k := range a.lanes {
		if l := &a.lanes[k]; l.live && l.cost < cost {
			cost, s = l.cost, step{from: int32(l.entry), diag: int32(l.diag)}
		}
	}
	a.steps[i+1], *a.cost(i + 1) = s, cost
	if again := cost + priceEnd; again < a.plain.cost {
		a.plain = lane{cost: again, entry: i + 1}
	}
	for k := range a.lanes {
		if l := &a.lanes[k]; l.live && l.cost > cost+priceCopy {
			l.cost, l.entry, l.left = cost+priceCopy, i+1, 0
			l.bad++
			l.live = l.bad <= patience
		}
	}
}

// trace goes back along the cheapest way.
func (a *aligner) trace() (segments []delta.Segment) {
	for i := len(a.target); i > 0; {
		s := a.steps[i]
		if from := int(s.from); s.diag != nothing {
			segments = append(segments, delta.Segment{At: from, Length: i - from, From: from + int(s.diag)})
		}
		i = int(s.from)
	}
	slices.Reverse(segments)
	return segments
}

// known remembers differences of words that were seen lately: they are cheap to name.
type known [1 << 12]struct {
	diff uint32
	at   int
}

const knownFor = 64 << 10 // bytes of the target

func (k *known) price(base, target []byte, p, i int) price {
	if p+wordSize > len(base) || i+wordSize > len(target) {
		return priceWord
	}
	diff := binary.LittleEndian.Uint32(target[i:]) - binary.LittleEndian.Uint32(base[p:])
	e := &k[diff*0x9e3779b1>>20]
	seen := e.diff == diff && i-e.at < knownFor
	e.diff, e.at = diff, i
	if seen {
		return priceKnown
	}
	return priceWord
}
