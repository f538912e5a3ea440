package discovery

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

const (
	announcements = 3               // when a link comes up
	searches      = 7               // questions that name who is known, 1, 2, 4 … s apart
	lastInterval  = 4 * time.Hour   // between questions when nothing happens
	answerTime    = 2 * time.Second // for all to answer a question
	apart         = time.Second     // between answers over one family, and between questions to all
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
	what words
	over [families]bool
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
	answered [families]time.Time

	ask    time.Time           // the next question
	asked  int                 // routine ones so far
	urgent bool                // the next one is about presence, and not routine
	last   [families]time.Time // question to all, by anybody

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

// heard notes a question over a family.
func (l *link) heard(now time.Time, f family, everyone bool) {
	if l.answerAt[f].IsZero() {
		at := now.Add(jitter())
		if next := l.answered[f].Add(apart); at.Before(next) {
			at = next
		}
		l.answerAt[f] = at
	}
	if everyone {
		l.last[f] = now
	}
}

// look asks soon who is here, unless that was asked within a time.
func (l *link) look(now time.Time, within time.Duration) {
	if l.urgent || now.Sub(l.since) < within {
		return
	}
	l.urgent = true
	if at := now.Add(jitter()); at.Before(l.ask) {
		l.ask = at
	}
}

// due returns what is to be said now. over6 tells whether a neighbour is heard over IPv6 only: routine questions are for IPv4
// where that reaches everybody. alone tells that no neighbour is known.
func (l *link) due(now time.Time, over6, alone bool) (out []utterance) {
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
			l.answerAt[f], l.answered[f] = time.Time{}, now
		}
	}
	if answers != [families]bool{} {
		out = append(out, utterance{answer, answers})
	}
	if now.Before(l.ask) {
		return out
	}
	over := l.speaks
	if l.asked >= searches && over[v4] {
		over[v6] = over[v6] && over6
	}
	kind := search
	if l.urgent || alone || l.asked >= searches {
		kind = presence
		l.since, l.check, l.checking = now, now.Add(answerTime), over
	}
	for f := range over { // what was just asked by another is answered for all
		over[f] = over[f] && now.Sub(l.last[f]) >= apart
		if over[f] && kind == presence {
			l.last[f] = now
		}
	}
	if over != [families]bool{} {
		out = append(out, utterance{kind, over})
	}
	if !l.urgent {
		l.asked++
	}
	l.urgent = false
	interval := min(time.Second<<min(l.asked, 20)/2, lastInterval)
	l.ask = now.Add(interval + rand.N(interval/4))
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
