package swarm

import (
	"math/bits"
	"time"
)

// peer is what is known of a neighbour. What it says itself is believed until it turns out to be wrong. What others say of it
// only lets this device wait; before it acts on it, it asks the neighbour itself.
type peer struct {
	have     Set
	site     Near // what it says that others beyond it have
	claims   Set
	patches  Set               // groups of this device's pack whose patches it passes on
	plain    bool              // it is not asked for patches any more
	since    map[int]time.Time // chunk that it claims and nobody here has → since when
	pack     Pack
	first    bool // its pack goes before this device's
	link     Link
	weights  []uint64  // unit → weight
	lacks    bool      // it is fetching too, so it may own units
	moved    time.Time // when it last claimed anything new, or received something that it claims
	received int64     // bytes from the origin, as it says
	flying   int       // load of what it is asked for
	strikes  int

	heard    bool      // through others only: this device does not follow it
	sure     time.Time // when it last spoke itself
	verified time.Time // when it was last asked to; zero: it has answered
	forged   bool      // others have said of it what it denies
	accused  bool      // of claims without deeds
}

// know returns what is known of a neighbour, which may be nothing yet.
func (s *Swarm) know(id string, now time.Time) *peer {
	p, ok := s.peers[id]
	if !ok {
		p = &peer{have: NewSet(s.o.Chunks), weights: s.weigh(id, ""), moved: now, lacks: true, since: map[int]time.Time{}}
		s.peers[id], s.joined = p, now
	}
	return p
}

func (s *Swarm) seen(e PeerSeen, now time.Time) {
	p := s.know(e.Peer, now)
	if p.strikes >= maxStrikes {
		return
	}
	once := e.Once && (p.heard || p.sure.IsZero())
	if once {
		p.forged = p.forged || s.contradicts(p, e, now)
	}
	p.heard, p.sure, p.verified = once, now, time.Time{}
	p.lacks = e.Have.Count() < s.o.Chunks
	s.stands(p, PeerHeard{Peer: e.Peer, Claims: e.Claims, Pack: e.Pack, Link: e.Link, Received: e.Received}, now)
	if e.Have.more(p.have) && p.lacks {
		s.arrives(now)
	}
	if e.Link == Silent {
		e.Have = NewSet(s.o.Chunks)
	}
	s.hold(p, e.Have)
	if p.patches = (Set{}); e.Pack.ID == s.pack.ID {
		p.patches = e.Patches
	}
	for c := range p.since {
		if e.Have.Has(c) {
			s.kept(c)
		}
	}
	if p.site = nil; !once { // what it has it keeps, what others have changes
		p.site = e.Site
	}
	s.believe(now)
}

// lag is how old what others say may be when it comes.
const lag = 500 * time.Millisecond

// contradicts reports whether a device that speaks itself denies what others have said that it claims.
func (s *Swarm) contradicts(p *peer, e PeerSeen, now time.Time) bool {
	for c, at := range p.since {
		if now.Sub(at) > lag && !e.Claims.Has(c) && !e.Have.Has(c) {
			return true
		}
	}
	return false
}

// hear takes what others say of a device that this one does not follow.
func (s *Swarm) hear(e PeerHeard, now time.Time) {
	p := s.know(e.Peer, now)
	if p.strikes >= maxStrikes || p.forged {
		return
	}
	if p.sure.IsZero() || !p.heard && p.sure.Before(now.Add(-lag)) {
		p.heard = true
	}
	if p.heard {
		s.stands(p, e, now)
	}
}

// stands notes what is said of any neighbour. It moves when it claims more, or receives while it claims something: one that
// never claims anything does nothing for others.
func (s *Swarm) stands(p *peer, e PeerHeard, now time.Time) {
	claims, pack, received := e.Claims, e.Pack, e.Received
	if e.Link != p.link {
		p.link, p.weights = e.Link, s.weigh(e.Peer, e.Link)
	}
	some := claims.Count() > 0
	if claims.more(p.claims) || some && received > p.received {
		p.moved = now
	}
	p.claims, p.received = claims, received
	for c := range p.since {
		if !claims.Has(c) {
			delete(p.since, c)
		}
	}
	for i, b := range claims.bits {
		for b &^= s.have.bits[i]; b != 0; b &= b - 1 {
			c := i*8 + bits.TrailingZeros8(b)
			if _, known := p.since[c]; !known && s.holders[c] == 0 {
				p.since[c] = now
			}
		}
	}
	if p.pack.ID != pack.ID && (pack.ID != "" || !p.heard) {
		p.pack, p.first = pack, pack.before(s.pack)
	}
}

// hold replaces what a neighbour has.
func (s *Swarm) hold(p *peer, have Set) {
	for i, b := range have.bits {
		for diff := b ^ p.have.bits[i]; diff != 0; diff &= diff - 1 {
			c := i*8 + bits.TrailingZeros8(diff)
			if have.Has(c) {
				s.holders[c]++
			} else {
				s.holders[c]--
			}
		}
	}
	p.have = have
}

// leave notes that a neighbour is not followed any more: it may still own what it lacks.
func (s *Swarm) leave(id string, now time.Time) {
	if p := s.peers[id]; p != nil && p.strikes < maxStrikes {
		s.part(p, id, now)
		p.heard = true
	}
}

// forget takes a neighbour off. Most likely it is starting its new release and comes back.
func (s *Swarm) forget(id string, now time.Time) {
	p := s.peers[id]
	if p == nil || p.strikes >= maxStrikes { // that stays known for what it is
		return
	}
	for c := 0; c < s.o.Chunks && !p.heard; c++ {
		if p.claims.Has(c) && s.holders[c] == 0 && !s.have.Has(c) {
			s.failed[c] = now
		}
	}
	s.part(p, id, now)
	delete(s.peers, id)
}

// part gives up what a neighbour has. What it alone had is waited for a while: it comes back, or others have it too and say
// so soon, and it would cross the uplink twice.
func (s *Swarm) part(p *peer, id string, now time.Time) {
	had, site := p.have, p.site
	s.hold(p, NewSet(s.o.Chunks))
	p.site, p.patches = nil, Set{}
	s.ground(id)
	s.believe(now)
	for c := range s.o.Chunks {
		if s.near[c] == 0 && (had.Has(c) || c < len(site) && site[c] > 0) && !s.have.Has(c) && s.doubted[c].IsZero() {
			s.failed[c] = now
		}
	}
}

// ground gives up what is on its way from a neighbour.
func (s *Swarm) ground(id string) {
	for c, r := range s.flying {
		if r.from == id {
			s.land(c)
		}
	}
}
