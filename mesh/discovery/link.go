package discovery

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

const (
	announcements = 3               // when a link comes up
	searches      = 7               // questions that name who is known, 1, 2, 4 … s apart
	searchesOver6 = 3               // of them over IPv6 where IPv4 is spoken too
	lastInterval  = 4 * time.Hour   // between questions when nothing happens
	answerTime    = 2 * time.Second // for all to answer a question
	apart         = time.Second     // between questions to all over one family, and between answers in the long run
	burst         = 3               // answers that are not so far apart
	doubtTime     = 10 * time.Second
)

// family is a version of IP.
type family int

const (
	v4 family = iota
	v6
	families
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return v4
	}
	return v6
}

// utterance is what to say on a link.
type utterance struct {
	what  words
	over  [families]bool
	known []string // for a search
}

type words int

const (
	answer   words = iota
	search         // for those that are not known
	presence       // who is here?
)

// link is when to say what on one link. It is a pure state: the time is given.
type link struct {
	network
	speaks [families]bool

	announce time.Time // the next unasked answer; zero: no more
	left     int       // announcements
	answerAt [families]time.Time
	answered [families][burst]time.Time // the last ones, the oldest first

	ask      time.Time           // the next question
	interval time.Duration       // between the last two routine ones
	asked    int                 // routine ones so far
	urgent   bool                // the next one is about presence, and not routine
	alone    bool                // and what others ask does not replace it
	last     [families]time.Time // question by anybody that serves this device

	since    time.Time // the last question about presence
	check    time.Time // of who has answered it; zero: it was done
	checking [families]bool
}

// newLink returns a link that has just come up.
func newLink(now time.Time, n network) *link {
	return &link{
		network: n, speaks: [families]bool{n.speaks(v4), n.speaks(v6)},
		announce: now, left: announcements, ask: now.Add(jitter()),
	}
}

// jitter keeps those apart that begin or hear something at the same time.
func jitter() time.Duration { return 20*time.Millisecond + rand.N(100*time.Millisecond) }

// reply says who this device is as soon as that is polite.
func (l *link) reply(now time.Time, f family) {
	if !l.answerAt[f].IsZero() {
		return
	}
	at := now.Add(jitter())
	if next := l.answered[f][0].Add(burst * apart); at.Before(next) {
		at = next
	}
	l.answerAt[f] = at
}

// heard notes a question of another device that serves this one too. all: it was for all.
func (l *link) heard(now time.Time, f family, all bool) {
	l.last[f] = now
	if !all || f == v6 && l.speaks[v4] {
		return
	}
	if l.check.IsZero() {
		l.since, l.check, l.checking = now, now.Add(answerTime), [families]bool{}
		l.checking[f] = true
	}
	if l.asked >= searches && !l.urgent {
		l.postpone(now)
	}
}

// look asks soon who is here, but not within a time since that was asked.
func (l *link) look(now time.Time, within time.Duration) {
	at := now.Add(jitter())
	if next := l.since.Add(within); at.Before(next) {
		at = next
	}
	l.urgent = true
	if at.Before(l.ask) {
		l.ask = at
	}
}

// insist asks again, whatever others ask: who is silent then is gone.
func (l *link) insist(now time.Time) {
	l.look(now, 0)
	l.alone = true
}

// postpone says when the next routine question is.
func (l *link) postpone(now time.Time) {
	l.interval = min(max(2*l.interval, time.Second), lastInterval)
	l.ask = now.Add(l.interval + rand.N(l.interval/4))
}

// due returns what is to be said now, given who is known.
func (l *link) due(now time.Time, t *table) (out []utterance) {
	var answers [families]bool
	if !l.announce.IsZero() && !now.Before(l.announce) {
		answers = l.speaks
		l.left--
		l.announce = time.Time{}
		if l.left > 0 {
			l.announce = now.Add(time.Duration(announcements-l.left) * time.Second)
		}
	}
	for f, at := range l.answerAt {
		answers[f] = answers[f] || !at.IsZero() && !now.Before(at)
		if answers[f] {
			l.answerAt[f] = time.Time{}
			copy(l.answered[f][:], l.answered[f][1:])
			l.answered[f][burst-1] = now
		}
	}
	if answers != [families]bool{} {
		out = append(out, utterance{what: answer, over: answers})
	}
	if now.Before(l.ask) {
		return out
	}
	over := l.speaks
	if l.asked >= searchesOver6 && over[v4] && !l.urgent {
		over[v6] = over[v6] && t.only6(l.Index) // IPv4 reaches everybody
	}
	known := t.instances(l.Index)
	kind := search
	if l.urgent || len(known) == 0 || l.asked >= searches {
		kind, known = presence, nil
		l.since, l.check, l.checking = now, now.Add(answerTime), over
	}
	recent := apart
	if kind == search {
		recent = max(recent, l.interval/2)
	}
	for f := range over {
		over[f] = over[f] && (l.alone || now.Sub(l.last[f]) >= recent)
		if over[f] {
			l.last[f] = now
		}
	}
	if over != [families]bool{} {
		out = append(out, utterance{kind, over, known})
	}
	if l.urgent {
		l.urgent, l.alone = false, false
		l.ask = now.Add(max(l.interval, time.Second))
		return out
	}
	l.asked++
	l.postpone(now)
	return out
}

// next returns when something is due.
func (l *link) next() time.Time {
	return sooner(sooner(l.announce, l.ask), sooner(l.check, sooner(l.answerAt[v4], l.answerAt[v6])))
}

// String implements fmt.Stringer.
func (f family) String() string {
	if f == v4 {
		return "IPv4"
	}
	return "IPv6"
}
