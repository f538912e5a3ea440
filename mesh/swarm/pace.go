package swarm

import (
	"slices"
	"time"
)

// pace is how long things take on this site.
type pace struct {
	slow  time.Duration             // how long the origin takes for a request of this device, lately
	usual [len(kinds)]time.Duration // how long it takes for most of the site
	word  [len(kinds)]time.Duration // how long a claim counts; see lately
	came  time.Time                 // when anybody in sight last got anything
}

// kind is how a chunk comes from the origin: by itself, or out of a patch, which takes longer as more comes.
type kind int

const (
	single kind = iota
	patched
)

var kinds = [...]kind{single, patched}

func kindOf(patch bool) kind {
	if patch {
		return patched
	}
	return single
}

// oldest returns since when a neighbour has claimed what it has claimed for longest, of one kind and of what has not come;
// zero: nothing.
func (p *peer) oldest(k kind) (oldest time.Time) {
	for c, at := range p.since {
		if kindOf(p.pack.Chunks.Has(c)) == k && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return oldest
}

// crowd is how many neighbours must claim something for what is usual among them to count.
const crowd = 3

// patchWord is how much longer a patch may take than a single chunk where nobody knows.
const patchWord = 3

// lately brings up to date how long claims count: twice what a fetch from the origin takes. That is what those of this device
// took, or one that is under way, or how old the claims of most neighbours grew.
func (s *Swarm) lately(now time.Time) {
	for _, k := range kinds {
		var ages []time.Duration
		for _, p := range s.peers {
			if at := p.oldest(k); p.lacks && !at.IsZero() {
				ages = append(ages, now.Sub(at))
			}
		}
		if len(ages) >= crowd {
			slices.Sort(ages)
			s.usual[k] = max(s.usual[k], ages[(len(ages)-1)/3]) // some may claim what they do not do
		}
	}
	usual := s.usual
	for c, r := range s.flying {
		if k := kindOf(s.units[s.unitOf[c]].patch); r.from == origin {
			usual[k] = max(usual[k], now.Sub(r.since))
		}
	}
	for _, k := range kinds {
		usual[k] = max(usual[k], s.slow)
	}
	if usual[patched] == 0 {
		usual[patched] = patchWord * usual[single]
	}
	if usual[single] == 0 {
		usual[single] = usual[patched]
	}
	for _, k := range kinds {
		s.word[k] = max(s.o.Stall, 2*usual[k])
		if usual[k] == 0 {
			s.word[k] = longestWord * s.o.Stall
		}
	}
}

// patience is how long a neighbour may stand still: devices share one uplink, so it grows with how long the origin takes.
func (s *Swarm) patience() time.Duration { return max(s.o.Stall, 4*s.slow) }

// handover is how much longer each device in the order of rank waits for those before it that stand still: time for the next
// to say that it has stepped in. All who wait for one that has gone stand still too.
func (s *Swarm) handover() time.Duration { return s.o.Stall / 5 }

// quiet reports whether nothing has come to anybody for long, and nobody here knows how long a fetch takes.
func (s *Swarm) quiet(now time.Time) bool {
	return s.unknown() && !now.Before(s.quietAt())
}

// unknown reports whether nobody here knows how long a fetch takes, and this device does not find out just now.
func (s *Swarm) unknown() bool {
	return s.slow == 0 && s.usual == [len(kinds)]time.Duration{} && s.load == 0
}

func (s *Swarm) quietAt() time.Time {
	at := s.opens()
	if s.came.After(at) {
		at = s.came
	}
	return at.Add(s.o.Stall)
}

// arrives notes that a chunk has come to somebody. After a quiet time it tells how long a fetch takes.
func (s *Swarm) arrives(now time.Time) {
	if s.quiet(now) {
		s.learn(now.Sub(s.quietAt()))
	}
	s.came = now
}

// learn takes how long a single chunk took for what a unit may take.
func (s *Swarm) learn(d time.Duration) {
	for _, k := range kinds {
		s.usual[k] = max(s.usual[k], d*GroupSize/probeParts)
	}
}
