// Package swarm decides who fetches what from whom, so that a site's uplink carries each chunk once. It is pure:
// [Swarm.Step] takes an event and the time and returns effects.
//
// The distinct chunks of an index, numbered in order of first use, form groups of [GroupSize]. Every group has one owner
// among the devices that lack some of it: the one with the highest rendezvous hash of (group, device). All devices that
// see the same neighbours name the same owner without talking. The owner fetches the group from the origin; the others
// wait until the owner, or anybody, has the chunks and take them from there.
//
//	somebody has it                    → take it from the least busy of them
//	I own the group, hold-off is over  → claim the group, fetch it from the origin
//	somebody claims or owns it         → wait; when nothing moves, the next in rank steps in
//
// The hold-off at the start gives neighbours that begin at the same moment time to see each other; measured in simulation,
// it is what turns 1.15 copies over the uplink into 1.00. Views may differ for a while: the cost is a chunk fetched twice,
// never a wrong one. Every chunk is verified by the caller before Got is said.
package swarm

import (
	"maps"
	"math/bits"
	"slices"
	"time"
)

// GroupSize is how many consecutive chunks one device fetches from the origin at a time: about a megabyte.
const GroupSize = 16

// Limits of one device.
const (
	maxFromPeer   = 3 // chunks in flight from one neighbour
	maxFromPeers  = 8 // chunks in flight from all neighbours
	maxFromOrigin = 4 // chunks in flight from the origin
	maxStrikes    = 3 // failures after which a neighbour is dropped; one wrong chunk is enough
)

// Pauses after the origin has failed, doubled from the first to the longest until it gives something again.
const (
	firstPause   = time.Second
	longestPause = 15 * time.Second
)

// Options configure New.
type Options struct {
	ID      string        // of the swarm: another payload, other owners
	Self    string        // this device
	Chunks  int           // distinct chunks of the index
	Have    []int         // those that this device has, or gets without the swarm
	HoldOff time.Duration // before the first fetch from the origin
	Stall   time.Duration // without progress, until a neighbour's groups go to the next in rank
}

// Swarm is what one device knows of the trade in the chunks of one index.
type Swarm struct {
	o       Options
	began   time.Time
	have    Set
	lacking int
	flying  map[int]flight // chunk → from whom it is on its way
	claimed map[int]bool   // groups that this device fetches from the origin
	peers   map[string]*peer
	holders []uint16          // chunk → how many neighbours have it
	weights []uint64          // group → weight of this device
	failed  map[int]time.Time // chunk → when the origin failed to give it
	pause   time.Time         // the origin is not asked before
	backoff time.Duration     // how long the last pause was; 0: the origin is well
	slow    time.Duration     // how long the origin takes for a chunk, lately
}

type flight struct {
	from  string // neighbour, or origin
	since time.Time
}

type peer struct {
	have    Set
	claims  map[int]bool
	weights []uint64  // group → weight
	lacks   bool      // it is fetching too, so it may own groups
	moved   time.Time // when it last had or claimed something new
	flying  int
	strikes int
}

// origin is who has everything.
const origin = ""

// Events.
type (
	Began    struct{}
	PeerSeen struct { // a neighbour in this swarm said where it stands
		Peer   string
		Have   Set
		Claims []int
	}
	PeerGone struct{ Peer string }
	Got      struct{ Chunk int } // verified and in place, from wherever it was asked
	Lost     struct {            // a fetch failed
		Chunk  int
		Wrong  bool // the bytes were wrong: whoever gave them lies
		Absent bool // it says that it does not have the chunk now
	}
	Ticked struct{}
)

// Effects.
type (
	FromPeer struct {
		Peer  string
		Chunk int
	}
	FromOrigin struct{ Chunk int }
	Announce   struct{} // what this device has or claims changed: let neighbours know
	Drop       struct{ Peer, Reason string }
)

// New returns a swarm that has not begun.
func New(o Options) *Swarm {
	s := &Swarm{
		o: o, have: NewSet(o.Chunks), lacking: o.Chunks, flying: map[int]flight{}, claimed: map[int]bool{},
		peers: map[string]*peer{}, holders: make([]uint16, o.Chunks), failed: map[int]time.Time{},
	}
	s.weights = s.weigh(o.Self)
	for _, c := range o.Have {
		if !s.have.Has(c) {
			s.have.Add(c)
			s.lacking--
		}
	}
	return s
}

// Done reports whether nothing is lacking.
func (s *Swarm) Done() bool { return s.lacking == 0 }

// Have returns the chunks at hand; the set is not to be changed.
func (s *Swarm) Have() Set { return s.have }

// Claims returns the groups that this device fetches from the origin, sorted.
func (s *Swarm) Claims() []int { return slices.Sorted(maps.Keys(s.claimed)) }

// Step applies an event.
func (s *Swarm) Step(event any, now time.Time) []any {
	var out []any
	switch e := event.(type) {
	case Began:
		s.began = now
	case PeerSeen:
		s.seen(e, now)
	case PeerGone:
		s.forget(e.Peer)
	case Got:
		out = s.got(e.Chunk, now)
	case Lost:
		out = s.lost(e, now)
	}
	return append(out, s.schedule(now)...)
}

func (s *Swarm) seen(e PeerSeen, now time.Time) {
	p, ok := s.peers[e.Peer]
	if !ok {
		p = &peer{have: NewSet(s.o.Chunks), weights: s.weigh(e.Peer), moved: now}
		s.peers[e.Peer] = p
	}
	if p.strikes >= maxStrikes {
		return
	}
	for _, g := range e.Claims {
		if !p.claims[g] {
			p.moved = now
		}
	}
	if s.hold(p, e.Have) {
		p.moved = now
	}
	p.claims = make(map[int]bool, len(e.Claims))
	for _, g := range e.Claims {
		p.claims[g] = true
	}
	p.lacks = e.Have.Count() < s.o.Chunks
}

// hold replaces what a neighbour has and reports whether it has anything new.
func (s *Swarm) hold(p *peer, have Set) (more bool) {
	for i, b := range have.bits {
		for diff := b ^ p.have.bits[i]; diff != 0; diff &= diff - 1 {
			c := i*8 + bits.TrailingZeros8(diff)
			if have.Has(c) {
				s.holders[c]++
				more = true
			} else {
				s.holders[c]--
			}
		}
	}
	p.have = have
	return more
}

func (s *Swarm) forget(id string) {
	if p := s.peers[id]; p != nil {
		s.hold(p, NewSet(s.o.Chunks))
	}
	delete(s.peers, id)
	for c, f := range s.flying {
		if f.from == id {
			delete(s.flying, c)
		}
	}
}

func (s *Swarm) got(c int, now time.Time) []any {
	if f, ok := s.flying[c]; ok {
		if p := s.peers[f.from]; p != nil {
			p.flying--
		} else if f.from == origin {
			s.slow = (3*s.slow + now.Sub(f.since)) / 4
			s.pause, s.backoff = time.Time{}, 0
		}
		delete(s.flying, c)
	}
	if s.have.Has(c) {
		return nil
	}
	s.have.Add(c)
	s.lacking--
	g := c / GroupSize
	if s.claimed[g] && s.have.countIn(g) == s.sizeOf(g) {
		delete(s.claimed, g)
	}
	return []any{Announce{}}
}

func (s *Swarm) lost(e Lost, now time.Time) []any {
	f, ok := s.flying[e.Chunk]
	if !ok {
		return nil
	}
	delete(s.flying, e.Chunk)
	if f.from == origin {
		s.failed[e.Chunk] = now
		if !now.Before(s.pause) { // one pause for all that failed together
			s.backoff = min(max(2*s.backoff, firstPause), longestPause)
			s.pause = now.Add(s.backoff)
		}
		return nil
	}
	p := s.peers[f.from]
	if p == nil {
		return nil
	}
	p.flying--
	s.hold(p, p.have.Without(e.Chunk))
	if e.Absent {
		return nil
	}
	p.strikes++
	if e.Wrong || p.strikes >= maxStrikes {
		p.strikes = maxStrikes
		s.hold(p, NewSet(s.o.Chunks))
		p.claims, p.lacks = nil, false
		reason := "it fails to give what it says it has"
		if e.Wrong {
			reason = "it gave wrong bytes"
		}
		return []any{Drop{Peer: f.from, Reason: reason}}
	}
	return nil
}

// schedule begins every fetch that may begin now.
func (s *Swarm) schedule(now time.Time) []any {
	if s.began.IsZero() || s.Done() {
		return nil
	}
	var out []any
	fromPeers, fromOrigin := 0, 0
	for _, f := range s.flying {
		if f.from == origin {
			fromOrigin++
		} else {
			fromPeers++
		}
	}
	claimed := len(s.claimed)
	for g := range s.groups() {
		if s.have.countIn(g) == s.sizeOf(g) {
			continue
		}
		mine := fromOrigin < maxFromOrigin && !now.Before(s.pause) && s.mayFetch(g, now)
		for c := g * GroupSize; c < min((g+1)*GroupSize, s.o.Chunks); c++ {
			if _, busy := s.flying[c]; busy || s.have.Has(c) {
				continue
			}
			switch {
			case s.holders[c] > 0:
				if p := s.holder(c); fromPeers < maxFromPeers && s.peers[p].flying < maxFromPeer {
					s.flying[c], fromPeers = flight{p, now}, fromPeers+1
					s.peers[p].flying++
					out = append(out, FromPeer{Peer: p, Chunk: c})
				}
			case mine && fromOrigin < maxFromOrigin && now.Sub(s.failed[c]) >= s.o.Stall:
				s.flying[c], fromOrigin = flight{origin, now}, fromOrigin+1
				s.claimed[g] = true
				out = append(out, FromOrigin{Chunk: c})
			}
		}
		if fromOrigin >= maxFromOrigin && fromPeers >= maxFromPeers {
			break
		}
	}
	if len(s.claimed) != claimed {
		out = append(out, Announce{})
	}
	return out
}

// Wake returns when Ticked may begin something; zero: not before another event.
func (s *Swarm) Wake(now time.Time) time.Time {
	if s.began.IsZero() || s.Done() {
		return time.Time{}
	}
	var next time.Time
	sooner := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(s.began.Add(s.o.HoldOff))
	sooner(s.pause)
	for g := range s.groups() {
		if s.have.countIn(g) < s.sizeOf(g) {
			sooner(s.turn(g))
		}
	}
	for _, t := range s.failed {
		sooner(t.Add(s.o.Stall))
	}
	return next
}

func (s *Swarm) groups() int { return (s.o.Chunks + GroupSize - 1) / GroupSize }

func (s *Swarm) sizeOf(g int) int { return min(GroupSize, s.o.Chunks-g*GroupSize) }
