package swarm

import (
	"maps"
	"slices"
	"time"
)

// holder returns the least busy neighbour that has the chunk, but for one; none: origin. One that this device does not
// follow is spared for a while, as all who asked it once know that it has the chunk: it comes nearer from device to device.
func (s *Swarm) holder(c int, but string, now time.Time) string {
	spare := now.Before(s.rumour[c].Add(hedge))
	return s.least(c, func(id string, p *peer) bool { return p.have.Has(c) && id != but && !(p.heard && spare) })
}

// least returns the least busy neighbour of some that may give a chunk, others for other chunks; none: origin.
func (s *Swarm) least(c int, of func(string, *peer) bool) string {
	best := origin
	u := s.unitOf[c]
	for id, p := range s.peers {
		if !of(id, p) {
			continue
		}
		if b := s.peers[best]; best == "" || p.busy() < b.busy() ||
			p.busy() == b.busy() && p.weights[u]<<(c%64) > b.weights[u]<<(c%64) {
			best = id
		}
	}
	return best
}

// busy is how little a neighbour should be asked for one more chunk.
func (p *peer) busy() int { return (p.flying + 1) * p.link.price() }

// rival is a neighbour that may own what this device lacks, since it lacks something too.
type rival struct {
	*peer
	id    string
	until time.Time // then it has stood still for too long
}

func (s *Swarm) rivals(now time.Time) []rival {
	var out []rival
	s.lately(now)
	for id, p := range s.peers {
		if p.lacks {
			out = append(out, rival{p, id, s.standsFrom(p)})
		}
	}
	return out
}

// standsFrom returns when a neighbour that shows nothing new from now on has stood still for too long. Bytes that it says
// to receive count, as a group of patches shows nothing else for long on a slow uplink; but not when what it claims takes
// much longer to come than other fetches do.
func (s *Swarm) standsFrom(p *peer) time.Time {
	moved := p.moved
	if held := s.opens(); moved.Before(held) {
		moved = held
	}
	until := moved.Add(s.patience())
	for _, k := range kinds {
		if at := p.oldest(k); !at.IsZero() && at.Add(s.word[k]).Before(until) {
			until = at.Add(s.word[k])
		}
	}
	return until
}

// mayFetch reports whether a chunk that no neighbour has is this device's to fetch from the origin: nobody who claims it or
// comes before this device still moves, and the next in rank has had its turn. When that rests on what others say of a
// neighbour, it is asked itself first. why is empty when it is not this device's.
func (s *Swarm) mayFetch(c int, rivals []rival, now time.Time) (why Why) {
	mine := s.claimed.Has(c) // then only who comes before this device and claims it too is given way
	var turn time.Time
	before, may := 0, true
	for _, p := range rivals {
		claims, above := p.claims.Has(c), s.outranks(p.peer, c)
		switch {
		case !claims && !above, mine && !(claims && above):
			continue
		case !above: // it steps in, or came before: true, if it says so itself
			if p.heard && p.sure.Before(p.since[c]) {
				s.doubt(p.id, now)
				may = false
				continue
			}
			fallthrough
		default:
			if now.Before(p.until) {
				s.sound(p, now)
				return ""
			}
			if p.sure.Before(p.until) {
				s.doubt(p.id, now)
				may = false
				continue
			}
		}
		if before++; p.until.After(turn) {
			turn = p.until
		}
	}
	at, doubted := s.doubted[c]
	switch {
	case len(s.peers) == 0:
		why = Alone
	case doubted:
		why = DidNotCome
	case before > 0:
		why = SteppedIn
	default:
		why = OwnShare
	}
	if at.After(turn) { // until then all waited for the same thing
		turn, before = at, before+1
	}
	if !may || before > 0 && now.Before(turn.Add(time.Duration(before-1)*s.handover())) {
		return ""
	}
	return why
}

// accuse tells of those who claim a chunk that this device fetches in their place now, and have claimed it for much longer
// than claims count, by their own word.
func (s *Swarm) accuse(c int, rivals []rival, now time.Time) (out []any) {
	for _, p := range rivals {
		at, since := p.since[c]
		word := s.word[kindOf(p.pack.Chunks.Has(c))]
		if since && !p.accused && !p.sure.Before(p.until) && now.Sub(at) >= 2*word {
			p.accused = true
			out = append(out, Accuse{Peer: p.id, Kind: NoDeeds})
		}
	}
	return out
}

// doubt lets a neighbour be asked itself, now and then.
func (s *Swarm) doubt(id string, now time.Time) {
	if p := s.peers[id]; p.verified.IsZero() && now.Sub(p.sure) >= verifyEvery {
		s.doubts[id] = true
	}
}

// sound lets a neighbour that seems to stand still be asked before its time is over: one that has lost its power answers
// nobody, and it takes seconds to be sure of that.
func (s *Swarm) sound(p rival, now time.Time) {
	if early := s.patience() / 2; !now.Before(p.until.Add(-early)) && now.Sub(p.sure) >= early {
		s.doubt(p.id, now)
	}
}

// verifyEvery is how long what a neighbour has said itself is not asked for again.
const verifyEvery = time.Second

// verify asks those neighbours of whom it matters where they stand.
func (s *Swarm) verify(now time.Time) (out []any) {
	for _, id := range slices.Sorted(maps.Keys(s.doubts)) {
		if p := s.peers[id]; p != nil {
			p.verified = now
			out = append(out, Verify{Peer: id})
		}
	}
	clear(s.doubts)
	return out
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
