package swarm

import (
	"slices"
	"time"
)

// schedule begins every fetch that may begin now.
func (s *Swarm) schedule(now time.Time) []any {
	if s.began.IsZero() || s.Done() {
		return nil
	}
	var out []any
	open := s.link != Limited && !now.Before(s.pause) && !now.Before(s.opens())
	var rivals []rival
	most := s.mostFromOrigin()
	if open && s.load < most {
		rivals = s.rivals(now)
	}
	claims := false
	for i := range s.units {
		u := &s.units[i]
		if u.lacking == 0 {
			continue
		}
		may := open && s.load < most
		if !may && s.taking >= s.o.Link.atOnce() {
			break
		}
		if u.patch {
			effects, wait := s.takePatch(u, now)
			if out = append(out, effects...); wait {
				continue
			}
		}
		var need []int
		var why Why
		for _, c := range u.chunks {
			if s.have.Has(c) {
				continue
			}
			if r, busy := s.flying[c]; busy {
				if r.from != origin && !now.Before(r.late()) {
					out = append(out, s.take(c, s.holder(c, r.from, now), now)...)
				}
				continue
			}
			if s.holders[c] > 0 {
				if s.taking < s.o.Link.atOnce() {
					out = append(out, s.take(c, s.holder(c, origin, now), now)...)
				}
				continue
			}
			if !may || now.Sub(s.failed[c]) < s.o.Stall || s.comes(c, now) || !u.patch && len(need) >= most-s.load {
				continue // only what is asked for now is claimed: how long a claim takes tells who stands still
			}
			if w := s.mayFetch(c, rivals, now); w != "" {
				if need, why = append(need, c), w; w == SteppedIn {
					out = append(out, s.accuse(c, rivals, now)...)
				}
				continue
			}
			claims = claims || s.claimed.Has(c)
			s.claimed.Remove(c)
			if u.patch { // whole or not at all: a part costs as many bytes
				may, need = false, nil
			}
		}
		for _, c := range need {
			claims = claims || !s.claimed.Has(c)
			s.claimed.Add(c)
		}
		out = append(out, s.ask(u, need, why, most, now)...)
	}
	if open && s.quiet(now) {
		out = append(out, s.probe(rivals, now)...)
	}
	if claims {
		out = append(out, Announce{})
	}
	return append(out, s.verify(now)...)
}

// opens returns when this device may begin to ask the origin: after the hold-off, and while neighbours are still turning up a
// little later, but not for ever.
func (s *Swarm) opens() time.Time {
	at, last := s.began.Add(s.o.HoldOff), s.began.Add(2*s.o.HoldOff)
	if more := s.joined.Add(s.o.HoldOff / 2); more.After(at) {
		at = more
	}
	if at.After(last) {
		return last
	}
	return at
}

// probe fetches a single chunk, whole, of a unit that others have claimed for long, to learn what the uplink gives: what they
// say of themselves may be wrong, and how long to believe it depends on that. One device does it, the next when it does not;
// the others learn from when the chunk comes to them.
func (s *Swarm) probe(rivals []rival, now time.Time) []any {
	old := func(p rival) bool {
		return slices.ContainsFunc(kinds[:], func(k kind) bool {
			at := p.oldest(k)
			return !at.IsZero() && now.Sub(at) >= s.o.Stall
		})
	}
	i := slices.IndexFunc(s.units, func(u unit) bool { return u.lacking > 0 })
	if !slices.ContainsFunc(rivals, old) {
		return nil
	}
	before := 0
	for _, p := range rivals {
		if !old(p) && p.weights[i] > s.weights[i] {
			before++
		}
	}
	if now.Before(s.quietAt().Add(time.Duration(before) * s.handover())) {
		return nil
	}
	for _, c := range s.units[i].chunks {
		if _, busy := s.flying[c]; !busy && !s.have.Has(c) && s.holders[c] == 0 && now.Sub(s.failed[c]) >= s.o.Stall {
			s.fly(request{since: now, load: 1, probe: true}, c)
			return []any{FromOrigin{Chunks: []int{c}, Why: Probe}}
		}
	}
	return nil
}

// take asks a neighbour for a chunk, unless it is busy. When another one is asked already, and takes long, whoever is faster
// gives it.
func (s *Swarm) take(c int, id string, now time.Time) []any {
	if id == origin || s.peers[id].flying >= maxFromPeer {
		return nil
	}
	s.land(c)
	s.fly(request{from: id, since: now, load: 1}, c)
	return []any{FromPeer{Peer: id, Chunk: c}}
}

// takePatch asks a neighbour for the patch of a group of which this device lacks most. wait says that one has it and is busy.
func (s *Swarm) takePatch(u *unit, now time.Time) (out []any, wait bool) {
	var need []int
	for _, c := range u.chunks {
		switch r := s.flying[c]; {
		case r != nil && (r.from == origin || r.patch):
			return nil, false
		case r == nil && !s.have.Has(c):
			need = append(need, c)
		}
	}
	if 3*len(need) < 2*len(u.chunks) {
		return nil, false
	}
	best := s.least(u.chunks[0], func(id string, p *peer) bool { return p.patches.Has(u.group) && !p.plain })
	switch {
	case best == origin:
		return nil, false
	case s.peers[best].flying >= maxFromPeer || s.taking >= s.o.Link.atOnce(): // one place is enough, or chunks would always come first
		return nil, true
	}
	s.fly(request{from: best, since: now, load: patchLoad, patch: true}, need...)
	return []any{PatchFromPeer{Peer: best, Group: u.group, Chunks: need}}, true
}

// late returns when somebody else is asked too.
func (r *request) late() time.Time { return r.since.Add(hedge * time.Duration(r.load)) }

// mostFromOrigin is how many single chunks may be in flight from the origin: a part of what the uplink is to carry, as others
// fetch too.
func (s *Swarm) mostFromOrigin() int {
	fetching := 1
	for _, p := range s.peers {
		if p.lacks && len(p.since) > 0 {
			fetching++
		}
	}
	return max(min(uplinkLoad/fetching, maxFromOrigin), 1)
}

// ask sends requests for chunks of one unit, as many as may be under way.
func (s *Swarm) ask(u *unit, need []int, why Why, most int, now time.Time) (out []any) {
	load, step := 1, 1
	if u.patch {
		load, step = patchLoad, max(len(need), 1)
	}
	for ; len(need) > 0 && s.load < most; need = need[step:] {
		s.fly(request{since: now, load: load}, need[:step]...)
		out = append(out, FromOrigin{Chunks: need[:step], Why: why})
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
	sooner(s.opens())
	sooner(s.pause)
	claimed := func() bool {
		for _, p := range s.peers {
			if p.lacks && len(p.since) > 0 {
				return true
			}
		}
		return false
	}
	if s.unknown() && claimed() {
		for at := s.quietAt(); next.IsZero() || at.Before(next); at = at.Add(s.handover()) {
			sooner(at)
		}
	}
	for _, p := range s.peers {
		if p.lacks {
			sooner(s.nextTurn(p, now))
			sooner(s.standsFrom(p).Add(-s.patience() / 2))
			sooner(p.sure.Add(verifyEvery))
		}
	}
	for _, t := range s.failed {
		sooner(t.Add(s.o.Stall))
	}
	for _, r := range s.flying {
		if r.from != origin {
			sooner(r.late())
		}
	}
	for _, t := range s.rumour {
		sooner(t.Add(hedge))
		sooner(t.Add(s.hope()))
	}
	for _, t := range s.doubted {
		for range len(s.peers) {
			t = t.Add(s.handover())
			sooner(t)
		}
	}
	return next
}
