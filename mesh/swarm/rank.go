package swarm

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// holder returns the least busy neighbour that has the chunk.
func (s *Swarm) holder(c int) string {
	best := ""
	for id, p := range s.peers {
		if !p.have.Has(c) {
			continue
		}
		if b := s.peers[best]; best == "" || p.flying < b.flying ||
			p.flying == b.flying && p.weights[c/GroupSize]<<(c%64) > b.weights[c/GroupSize]<<(c%64) {
			best = id
		}
	}
	return best
}

// mayFetch reports whether this device may fetch a group from the origin now.
func (s *Swarm) mayFetch(g int, now time.Time) bool {
	if s.claimed[g] {
		return true
	}
	if now.Before(s.began.Add(s.o.HoldOff)) {
		return false
	}
	return !now.Before(s.turn(g))
}

// turn returns when a group becomes this device's to fetch: when every neighbour that claims it, or outranks this device
// and lacks some of it too, has stood still for too long; the zero time when there is none.
func (s *Swarm) turn(g int) time.Time {
	var turn time.Time
	for _, p := range s.peers {
		if !p.lacks || !p.claims[g] && (p.weights[g] < s.weights[g] || p.have.countIn(g) == s.sizeOf(g)) {
			continue
		}
		since := p.moved
		if held := s.began.Add(s.o.HoldOff); since.Before(held) {
			since = held
		}
		if at := since.Add(s.patience()); at.After(turn) {
			turn = at
		}
	}
	return turn
}

// patience is how long a neighbour may stand still: devices share one uplink, so it grows with how long the origin takes.
func (s *Swarm) patience() time.Duration { return max(s.o.Stall, 4*s.slow) }

// weigh returns a device's rendezvous hash (Thaler and Ravishankar 1998) for each group: the first eight bytes of
// SHA-256(group, swarm, device).
func (s *Swarm) weigh(device string) []uint64 {
	out := make([]uint64, s.groups())
	for g := range out {
		b := binary.BigEndian.AppendUint64(make([]byte, 0, 128), uint64(g))
		sum := sha256.Sum256(append(append(b, s.o.ID...), device...))
		out[g] = binary.BigEndian.Uint64(sum[:])
	}
	return out
}
