package swarm

import (
	"slices"
	"time"
)

// belief is what others are said to have.
type belief struct {
	near    Near              // what neighbours have, and others beyond them
	shifted bool              // that has changed in this step
	rumour  map[int]time.Time // chunk of those → since when
	doubted map[int]time.Time // chunk of those that did not come in time → since when
}

// comes reports whether a chunk that the site is said to have is worth waiting for.
func (s *Swarm) comes(c int, now time.Time) bool {
	since, said := s.rumour[c]
	if !said {
		return false
	}
	if now.Before(since.Add(s.hope())) {
		return true
	}
	delete(s.rumour, c)
	s.doubted[c] = now
	return false
}

// hope is how long a chunk may take that others have said to be on the site: it comes over several devices.
func (s *Swarm) hope() time.Duration { return 2 * s.patience() }

// kept notes that a chunk has come, of which somebody may have said that it fetches it.
func (s *Swarm) kept(c int) {
	for _, p := range s.peers {
		delete(p.since, c)
	}
}

// Site returns what those have whom this device follows, and others beyond them, as far as it knows; a copy.
func (s *Swarm) Site() Near { return slices.Clone(s.near) }

// believe brings up to date what is on the site, how far away, and since when that is said.
func (s *Swarm) believe(now time.Time) {
	was := slices.Clone(s.near)
	clear(s.near)
	for _, p := range s.peers {
		if len(p.site) == 0 && p.have.Count() == 0 {
			continue // most of a large site: this device follows a few
		}
		for c := range s.near {
			hops := uint8(0)
			switch {
			case p.have.Has(c):
				hops = 1
			case c < len(p.site) && p.site[c] > 0 && p.site[c] < mostHops:
				hops = p.site[c] + 1
			}
			if hops > 0 && !s.have.Has(c) && s.doubted[c].IsZero() && (s.near[c] == 0 || hops < s.near[c]) {
				s.near[c] = hops
			}
		}
	}
	for c, hops := range s.near {
		_, known := s.rumour[c]
		switch {
		case hops == 0 && known:
			delete(s.rumour, c)
		case hops > 0 && !known:
			s.rumour[c] = now
		}
	}
	s.shifted = s.shifted || !slices.Equal(was, s.near)
}
