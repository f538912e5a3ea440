package swarm

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"time"
)

// Links decides whom a device follows, so that news and chunks reach every device of a swarm over a few connections each. It
// is pure, as [Swarm].
//
// All devices stand on a ring in the order of a hash. Each follows the next one that is in the swarm, which makes the ring
// whole whatever else happens, and a few from points of its own on the ring, which make every way short: in a site of 50,
// news passes six devices at most. Who does not answer, is not in the swarm or has followers enough is passed over and asked
// again later: often at the beginning, as devices of a site begin together.
type Links struct {
	o       LinkOptions
	began   time.Time
	ring    []*contact // by place
	of      map[string]*contact
	points  []uint64 // where each link begins to look: the first just behind this device
	probing string   // a better one that is asked while the link has another; none: ""
	probed  time.Time
}

// LinkOptions configure NewLinks.
type LinkOptions struct {
	ID   string // of the swarm
	Self string // this device
	Most int    // links; 0: Follows
}

// Follows is how many others a device follows.
const Follows = 3

// Followers that a device takes: those whose next on the ring it is, and others.
const (
	FirstFollowers = 2
	OtherFollowers = 2
)

type contact struct {
	id      string
	place   uint64
	stands  standing
	again   time.Time // not before, when refused
	wait    time.Duration
	refused bool // at least once, and not mentioned since
	busy    bool // it is in the swarm, and had followers enough when asked
	banned  bool
}

type standing int

const (
	strange   standing = iota // nothing is known
	asked                     // Follow was said
	following                 // and it worked
)

// Times of the search.
const (
	firstRetry  = 100 * time.Millisecond
	lastRetry   = 2 * time.Second
	lastBusy    = 30 * time.Second       // of those who have followers enough: in a large site that is most of the time
	probeEvery  = 200 * time.Millisecond // early
	probeSeldom = time.Second            // later
	early       = 5 * time.Second
)

// Events of Links.
type (
	Sighted  struct{ Devices []string } // all in sight by now, without this device
	Followed struct{ Device string }    // it is in the swarm and lets this device follow
	Refused  struct {                   // it does not, or not any more, or does not answer
		Device string
		Busy   bool // it has followers enough
	}
	Known  struct{ Devices []string } // somebody says that they are in the swarm
	Banned struct{ Device string }    // it shall not be followed any more
)

// Effects of Links.
type (
	// Follow asks for a device's news. First says that it is the next on the ring: who follows it for that has a place of its
	// own, or the ring would break.
	Follow struct {
		Device string
		First  bool
	}
	Unfollow struct{ Device string }
)

// NewLinks returns the links of a device that has seen nobody.
func NewLinks(o LinkOptions) *Links {
	if o.Most <= 0 {
		o.Most = Follows
	}
	l := &Links{o: o, of: map[string]*contact{}}
	for i := range o.Most {
		point := l.place(o.Self)
		if i > 0 {
			point = l.place(o.Self + "/" + strconv.Itoa(i))
		}
		l.points = append(l.points, point)
	}
	return l
}

func (l *Links) place(what string) uint64 {
	sum := sha256.Sum256([]byte(l.o.ID + "\x00" + what))
	return binary.BigEndian.Uint64(sum[:])
}

// Settled reports whether everybody in sight was asked, or would be in vain.
func (l *Links) Settled() bool {
	links := 0
	for _, c := range l.ring {
		if c.stands == asked {
			return false
		}
		if c.stands == following {
			links++
		}
	}
	return links >= min(l.o.Most, len(l.ring)) || !slices.ContainsFunc(l.ring, func(c *contact) bool {
		return c.stands == strange && !c.refused
	})
}

// Step applies an event: one of those above, [Began] or [Ticked].
func (l *Links) Step(event any, now time.Time) []any {
	var out []any
	switch e := event.(type) {
	case Began:
		l.began = now
	case Sighted:
		out = l.sighted(e.Devices)
	case Followed:
		if c := l.of[e.Device]; c != nil && c.stands == asked {
			c.stands, c.wait, c.refused = following, 0, false
		}
	case Refused:
		if c := l.of[e.Device]; c != nil {
			last := lastRetry
			if e.Busy {
				last = lastBusy
			}
			c.wait = min(max(firstRetry, c.wait*3/2), last)
			c.stands, c.again, c.refused, c.busy = strange, now.Add(c.wait), true, e.Busy
		}
	case Known:
		if !l.known(e.Devices, now) {
			return nil
		}
	case Banned:
		if c := l.of[e.Device]; c != nil && !c.banned {
			c.banned = true
			if c.stands != strange {
				c.stands = strange
				out = []any{Unfollow{Device: c.id}}
			}
		}
	}
	if c := l.of[l.probing]; c == nil || c.stands != asked {
		l.probing = ""
	}
	return append(out, l.choose(now)...)
}

// known lets those be asked again who were not in the swarm, or did not answer, when they were, and reports whether there are any.
func (l *Links) known(devices []string, now time.Time) (any bool) {
	for _, id := range devices {
		if c := l.of[id]; c != nil && c.refused && !c.busy && c.wait > firstRetry {
			c.again, c.wait, c.refused, any = now, 0, false, true
		}
	}
	return any
}

func (l *Links) sighted(devices []string) (out []any) {
	in := make(map[string]bool, len(devices))
	for _, id := range devices {
		in[id] = true
		if l.of[id] == nil && id != l.o.Self {
			c := &contact{id: id, place: l.place(id)}
			l.of[id] = c
			l.ring = append(l.ring, c)
		}
	}
	l.ring = slices.DeleteFunc(l.ring, func(c *contact) bool {
		if in[c.id] {
			return false
		}
		if c.stands != strange {
			out = append(out, Unfollow{Device: c.id})
		}
		delete(l.of, c.id)
		return true
	})
	slices.SortFunc(l.ring, func(a, b *contact) int { return cmp.Compare(a.place, b.place) })
	return out
}

// choose lets every link have the first on the ring from its point on that is not another's: one that is followed, or
// asked. Those passed over are asked again, one at a time, while the link keeps what it has.
func (l *Links) choose(now time.Time) (out []any) {
	if l.began.IsZero() {
		return nil
	}
	kept := make([]*contact, 0, l.o.Most)
	for i, point := range l.points {
		has, better := l.find(point, kept, now)
		switch {
		case has == nil && better != nil:
			has = better
			out = append(out, l.ask(better, i == 0))
		case better != nil && l.probing == "" && !now.Before(l.probed.Add(l.pace(now))):
			l.probing, l.probed = better.id, now
			out = append(out, l.ask(better, i == 0))
		}
		kept = append(kept, has)
	}
	for _, c := range l.ring {
		if c.stands == following && !slices.Contains(kept, c) {
			c.stands = strange
			out = append(out, Unfollow{Device: c.id})
		}
	}
	return out
}

// find returns whom a link has, and the first before it on the way that may be asked.
func (l *Links) find(point uint64, kept []*contact, now time.Time) (has, better *contact) {
	i, _ := slices.BinarySearchFunc(l.ring, point, func(c *contact, p uint64) int { return cmp.Compare(c.place, p) })
	for range l.ring {
		c := l.ring[i%len(l.ring)]
		i++
		switch {
		case slices.Contains(kept, c):
		case c.stands == following, c.stands == asked && c.id != l.probing:
			return c, better
		case better == nil && c.stands == strange && !c.banned && !now.Before(c.again):
			better = c
		}
	}
	return nil, better
}

func (l *Links) ask(c *contact, first bool) any {
	c.stands = asked
	return Follow{Device: c.id, First: first}
}

func (l *Links) pace(now time.Time) time.Duration {
	if now.Sub(l.began) < early {
		return probeEvery
	}
	return probeSeldom
}

// Wake returns when Ticked may begin something; zero: not before another event.
func (l *Links) Wake(now time.Time) (next time.Time) {
	if l.began.IsZero() {
		return next
	}
	for _, c := range l.ring {
		if c.stands != strange || c.banned {
			continue
		}
		at := c.again
		if p := l.probed.Add(l.pace(now)); p.After(at) {
			at = p
		}
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}
