package swarm

import "time"

// request is what was asked for at once: a chunk, or the patch of a group.
type request struct {
	from  string // neighbour, or origin
	since time.Time
	left  int   // chunks that are on their way still
	load  int   // chunks that it counts for
	patch bool  // a neighbour's
	came  []int // while others are on their way
	probe bool
}

// fly notes a request that begins now.
func (s *Swarm) fly(r request, chunks ...int) {
	r.left = len(chunks)
	for _, c := range chunks {
		s.flying[c] = &r
	}
	s.weighs(&r, r.load)
}

// land ends a chunk's flight and returns what it was on its way by; nil: nothing.
func (s *Swarm) land(c int) *request {
	r := s.flying[c]
	delete(s.flying, c)
	if r != nil {
		if r.left--; r.left == 0 {
			s.weighs(r, -r.load)
		}
	}
	return r
}

func (s *Swarm) weighs(r *request, load int) {
	if r.from == origin {
		s.load += load
		return
	}
	s.taking += load
	if p := s.peers[r.from]; p != nil {
		p.flying += load
	}
}

func (s *Swarm) got(c int, now time.Time) []any {
	r := s.land(c)
	if r != nil && r.from == origin {
		if len(r.came) == 0 {
			if d := now.Sub(r.since); r.probe {
				s.learn(d)
			} else if s.slow == 0 {
				s.slow = d
			} else {
				s.slow = (3*s.slow + d) / 4
			}
		}
		s.pause, s.backoff = time.Time{}, 0
	} else if r != nil {
		if p := s.peers[r.from]; p != nil && p.strikes < maxStrikes {
			p.strikes = 0
		}
	}
	if r != nil {
		r.came = append(r.came, c)
	}
	if !s.gain(c) {
		return nil
	}
	s.arrives(now)
	s.kept(c)
	return []any{Announce{}}
}

func (s *Swarm) lost(e Lost, now time.Time) []any {
	r := s.flying[e.Chunk]
	if r != nil && r.from == e.From { // else somebody else was asked too by now
		s.land(e.Chunk)
	} else if e.From == origin {
		return nil
	}
	if e.From == origin {
		s.failed[e.Chunk] = now
		if e.Held {
			s.claimed.Remove(e.Chunk)
			return nil
		}
		if !now.Before(s.pause) { // one pause for all that failed together
			s.backoff = min(max(2*s.backoff, firstPause), longestPause)
			s.pause = now.Add(s.backoff)
		}
		return nil
	}
	p := s.peers[e.From]
	if p == nil {
		return nil
	}
	if e.Patch { // its chunks may be well, and tell whether it lies
		p.patches = p.patches.Without(s.units[s.unitOf[e.Chunk]].group)
		p.plain = p.plain || !e.Absent
		return nil
	}
	s.hold(p, p.have.Without(e.Chunk))
	if s.holders[e.Chunk] == 0 && !e.Wrong {
		s.failed[e.Chunk] = now // it may be about to start anew, as in forget
	}
	if e.Absent || p.strikes >= maxStrikes {
		return nil
	}
	p.strikes++
	if e.Slow {
		p.strikes++
	}
	if e.Wrong || p.strikes >= maxStrikes {
		p.strikes = maxStrikes
		s.hold(p, NewSet(s.o.Chunks))
		p.claims, p.site, p.lacks = Set{}, nil, false
		s.believe(now)
		kind := NoDeeds
		switch {
		case e.Wrong:
			kind = WrongBytes
		case e.Gone:
			kind = ""
		}
		return []any{Drop{Peer: e.From, Kind: kind}, Announce{}} // what it said is not passed on any more
	}
	return nil
}
