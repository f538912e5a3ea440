package swarm

import "time"

// schedule begins every fetch that may begin now.
func (s *Swarm) schedule(now time.Time) []any {
	if s.began.IsZero() || s.Done() {
		return nil
	}
	var out []any
	fromPeers := len(s.flying)
	for _, r := range s.asked {
		fromPeers -= r.left
	}
	open := !now.Before(s.pause) && !now.Before(s.began.Add(s.o.HoldOff))
	var rivals []rival
	if open && s.load < maxFromOrigin {
		rivals = s.rivals()
	}
	claims := false
	for i := range s.units {
		u := &s.units[i]
		if u.lacking == 0 {
			continue
		}
		may := open && s.load < maxFromOrigin
		if !may && fromPeers >= maxFromPeers {
			break
		}
		var need []int
		for _, c := range u.chunks {
			if _, busy := s.flying[c]; busy || s.have.Has(c) {
				continue
			}
			if s.holders[c] > 0 {
				if fromPeers >= maxFromPeers {
					continue
				}
				if p := s.holder(c); s.peers[p].flying < maxFromPeer {
					s.flying[c], fromPeers = flight{from: p}, fromPeers+1
					s.peers[p].flying++
					out = append(out, FromPeer{Peer: p, Chunk: c})
				}
				continue
			}
			if !may || now.Sub(s.failed[c]) < s.o.Stall {
				continue
			}
			if s.mayFetch(c, rivals, now) {
				need = append(need, c)
			} else if u.patch { // whole or not at all: a part costs as many bytes
				may, need = false, nil
			}
		}
		for _, c := range need {
			claims = claims || !s.claimed.Has(c)
			s.claimed.Add(c)
		}
		out = append(out, s.ask(u, need, now)...)
	}
	if claims {
		out = append(out, Announce{})
	}
	return out
}

// ask sends requests for chunks of one unit, as many as may be under way.
func (s *Swarm) ask(u *unit, need []int, now time.Time) (out []any) {
	load, step := 1, 1
	if u.patch {
		load, step = patchLoad, max(len(need), 1)
	}
	for ; len(need) > 0 && s.load < maxFromOrigin; need = need[step:] {
		s.serial++
		s.asked[s.serial] = &request{since: now, left: step, load: load}
		s.load += load
		for _, c := range need[:step] {
			s.flying[c] = flight{from: origin, request: s.serial}
		}
		out = append(out, FromOrigin{Chunks: need[:step]})
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
	for _, p := range s.peers {
		if p.lacks {
			sooner(s.nextTurn(p, now))
		}
	}
	for _, t := range s.failed {
		sooner(t.Add(s.o.Stall))
	}
	return next
}
