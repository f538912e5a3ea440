package swarm

import "time"

// holder returns the least busy neighbour that has the chunk.
func (s *Swarm) holder(c int) string {
	best := ""
	u := s.unitOf[c]
	for id, p := range s.peers {
		if !p.have.Has(c) {
			continue
		}
		if b := s.peers[best]; best == "" || p.flying < b.flying ||
			p.flying == b.flying && p.weights[u]<<(c%64) > b.weights[u]<<(c%64) {
			best = id
		}
	}
	return best
}

// rival is a neighbour that may own what this device lacks, since it lacks something too.
type rival struct {
	*peer
	until time.Time // then it has stood still for too long
}

func (s *Swarm) rivals() []rival {
	var out []rival
	for _, p := range s.peers {
		if p.lacks {
			out = append(out, rival{p, s.standsFrom(p)})
		}
	}
	return out
}

// standsFrom returns when a neighbour that shows nothing new from now on has stood still for too long. Bytes that it says
// to receive count, as a group of patches shows nothing else for long on a slow uplink; but no word of it counts for ever
// when no chunk comes of it.
func (s *Swarm) standsFrom(p *peer) time.Time {
	moved := p.moved
	if held := s.began.Add(s.o.HoldOff); moved.Before(held) {
		moved = held
	}
	until := moved.Add(s.patience())
	if word := p.word.Add(max(longestWord*s.o.Stall, 8*s.slow)); !p.word.IsZero() && word.Before(until) {
		return word
	}
	return until
}

// patience is how long a neighbour may stand still: devices share one uplink, so it grows with how long the origin takes.
func (s *Swarm) patience() time.Duration { return max(s.o.Stall, 4*s.slow) }

// handover is how much longer each device in the order of rank waits for those before it that stand still: time for the next
// to say that it has stepped in. All who wait for one that has gone stand still too.
func (s *Swarm) handover() time.Duration { return s.o.Stall / 2 }

// mayFetch reports whether a chunk that no neighbour has is this device's to fetch from the origin: nobody who claims it or
// comes before this device still moves, and the next in rank has had its turn.
func (s *Swarm) mayFetch(c int, rivals []rival, now time.Time) bool {
	if s.claimed.Has(c) {
		return true
	}
	var turn time.Time
	before := 0
	for _, p := range rivals {
		if !p.claims.Has(c) && !s.outranks(p.peer, c) {
			continue
		}
		if now.Before(p.until) {
			return false
		}
		if before++; p.until.After(turn) {
			turn = p.until
		}
	}
	return before == 0 || !now.Before(turn.Add(time.Duration(before-1)*s.handover()))
}

// outranks reports whether a neighbour comes before this device for a chunk that both lack. The order is total and the
// same on both sides, so that never two wait for each other: who gets it by a patch before who does not, the better pack
// before the other, and among equals the higher weight.
func (s *Swarm) outranks(p *peer, c int) bool {
	u := s.unitOf[c]
	mine, theirs := s.units[u].patch, p.pack.Chunks.Has(c)
	switch {
	case mine != theirs:
		return theirs
	case mine && p.pack.ID != s.pack.ID:
		return p.first
	}
	return p.weights[u] > s.weights[u]
}

// nextTurn returns when something that a neighbour keeps from this device may become free, after now.
func (s *Swarm) nextTurn(p *peer, now time.Time) time.Time {
	until, step := s.standsFrom(p), s.handover()
	for range s.peers {
		if until.After(now) || step <= 0 {
			break
		}
		until = until.Add(step)
	}
	return until
}
