package discovery

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

const (
	maxNeighbors = 256 // remembered, at most
	maxStrangers = 32  // of those, at once with the caller to be judged
	maxPorts     = 8   // strangers at one address
	maxSilent    = 3   // questions that a stranger leaves without an answer
	maxGood      = 6   // and that a good neighbour does: its link may lose packets
	byeTime      = 1500 * time.Millisecond
	lostTime     = 10 * time.Second // a link that comes back within has lost nobody
	firstHide    = 30 * time.Second
	lastHide     = time.Hour
)

// place is where a neighbour is: an address on a link, with a zone where it needs one.
type place struct {
	link int // index of the interface; 0: introduced, not heard
	at   netip.AddrPort
}

// neighbor is what is known of a place.
type neighbor struct {
	place
	instance string // empty: introduced, not heard
	first    time.Time
	heard    time.Time
	until    time.Time // to be forgotten then; zero: as long as it answers
	lost     time.Time // likewise, as its link is gone
	silent   int       // questions in a row that it did not answer
	good     bool      // as the caller judges
	failures int       // in a row, as the caller judges
	hidden   time.Time // not shown until then
	shown    bool
}

// table is who is in sight. It is a pure state: the time is given.
type table struct {
	all    map[netip.AddrPort]*neighbor
	judged bool // the caller judges; otherwise all are shown at once
}

// hear notes that a device announced itself. moved: it is at another address than before, or there as well.
func (t *table) hear(now time.Time, p place, instance string) (moved bool) {
	n := t.all[p.at]
	if n == nil {
		for _, o := range t.all {
			moved = moved || o.link == p.link && o.instance == instance && o.at.Addr().Is4() == p.at.Addr().Is4()
		}
		if n = t.add(now, p); n == nil {
			return false
		}
	}
	n.link, n.instance = p.link, instance
	n.heard, n.silent, n.until, n.lost = now, 0, time.Time{}, time.Time{}
	return moved
}

// introduce notes that somebody is at an address, which is believed for Forget. It is no better than what is heard: one
// device of the fleet that means ill could introduce hundreds.
func (t *table) introduce(now time.Time, at netip.AddrPort) {
	n := t.all[at]
	if n == nil {
		if n = t.add(now, place{at: at}); n == nil {
			return
		}
	}
	if n.instance == "" {
		n.until = now.Add(Forget)
	}
}

// add makes room for one more; nil: there is none, as all others are good or about to be judged.
func (t *table) add(now time.Time, p place) *neighbor {
	at := map[netip.Addr]int{}
	for _, n := range t.all {
		if !n.good {
			at[n.at.Addr()]++
		}
	}
	// Who claims to be many at one address pushes out his own; at one that several devices share, nobody's.
	crowded := at[p.at.Addr()] >= maxPorts && !p.at.Addr().IsLoopback()
	if crowded || len(t.all) >= maxNeighbors {
		most := 0
		for _, k := range at {
			most = max(most, k)
		}
		var victim *neighbor
		count := 0
		for _, n := range t.all {
			a := n.at.Addr()
			if n.good || (n.shown && t.judged) || (crowded && a != p.at.Addr()) || (!crowded && at[a] < most) {
				continue
			}
			if count++; rand.N(count) == 0 {
				victim = n
			}
		}
		if victim == nil {
			return nil
		}
		delete(t.all, victim.at)
	}
	n := &neighbor{place: p, first: now, heard: now}
	t.all[p.at] = n
	return n
}

// leave notes that a device says goodbye. Its addresses on the link are forgotten soon, unless it is heard again.
func (t *table) leave(now time.Time, p place, instance string) {
	if n := t.all[p.at]; n == nil || n.link != p.link || n.instance != instance {
		return // it speaks for another
	}
	for _, n := range t.all {
		if n.link == p.link && n.instance == instance && n.until.IsZero() {
			n.until = now.Add(byeTime)
		}
	}
}

// judge notes what the caller learnt. doubt: a good one failed, so it is worth asking who is there.
func (t *table) judge(now time.Time, v Verdict) (doubt bool) {
	n := t.all[v.At]
	if n == nil {
		return false
	}
	if v.Good {
		n.good, n.failures, n.hidden = true, 0, time.Time{}
		return false
	}
	doubt = n.good
	n.good, n.shown = false, false
	n.hidden = now.Add(min(firstHide<<min(n.failures, 16), lastHide))
	n.failures++
	return doubt
}

// silence notes that a question was left without an answer by all on a link who were not heard since it was asked, and
// reports whether some of them may still be there.
func (t *table) silence(link int, asked time.Time, over [families]bool) (unsure bool) {
	for at, n := range t.all {
		if n.link != link || !over[familyOf(at.Addr())] || !n.heard.Before(asked) {
			continue
		}
		n.silent++
		if n.silent >= maxGood || !n.good && n.silent >= maxSilent {
			delete(t.all, at)
		} else {
			unsure = true
		}
	}
	return unsure
}

// relink notes which links there are: who was heard on another, or is not on its link any more, has little time to be heard.
func (t *table) relink(now time.Time, links map[int]network) {
	for _, n := range t.all {
		switch there := n.link == 0 || links[n.link].onLink(n.at.Addr()); {
		case there:
			n.lost = time.Time{}
		case n.lost.IsZero():
			n.lost = now.Add(lostTime)
		}
	}
}

// show forgets whom it is time to forget and returns the addresses for the caller: all that are good, and some of the
// others. A device that has an address of IPv4 on a link is not shown at one of IPv6 there.
func (t *table) show(now time.Time) []netip.AddrPort {
	maps.DeleteFunc(t.all, func(_ netip.AddrPort, n *neighbor) bool {
		end := sooner(n.until, n.lost)
		return !end.IsZero() && !now.Before(end)
	})
	type device struct {
		link     int
		instance string
	}
	on4 := map[device]bool{}
	for _, n := range t.all {
		if n.at.Addr().Is4() && n.instance != "" && !now.Before(n.hidden) {
			on4[device{n.link, n.instance}] = true
		}
	}
	var good, strange []*neighbor
	for _, n := range t.all {
		switch {
		case now.Before(n.hidden), n.silent > 0 && !n.shown && !n.good, n.at.Addr().Is6() && on4[device{n.link, n.instance}]:
			n.shown = false
		case n.good:
			good = append(good, n)
		default:
			strange = append(strange, n)
		}
	}
	if t.judged && len(strange) > maxStrangers {
		slices.SortFunc(strange, func(a, b *neighbor) int {
			return cmp.Or(first(a.shown, b.shown), first(a.instance == "", b.instance == ""), cmp.Compare(a.failures, b.failures), a.first.Compare(b.first))
		})
		for _, n := range strange[maxStrangers:] {
			n.shown = false
		}
		strange = strange[:maxStrangers]
	}
	out := make([]netip.AddrPort, 0, len(good)+len(strange))
	for _, n := range append(good, strange...) {
		n.shown = true
		out = append(out, n.at)
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out
}

// next returns when show may return something else by itself; zero: never.
func (t *table) next(now time.Time) (next time.Time) {
	for _, n := range t.all {
		next = sooner(next, sooner(n.until, n.lost))
		if n.hidden.After(now) {
			next = sooner(next, n.hidden)
		}
	}
	return next
}

// instances returns names of devices on a link, some if there are many.
func (t *table) instances(link int) []string {
	names := map[string]bool{}
	for _, n := range t.all {
		if n.link == link && n.instance != "" && n.until.IsZero() && n.silent == 0 {
			names[n.instance] = true
		}
	}
	out := slices.Collect(maps.Keys(names))
	rand.Shuffle(len(out), func(i, k int) { out[i], out[k] = out[k], out[i] })
	return out[:min(len(out), maxKnown)]
}

// knows reports whether devices on a link are all known.
func (t *table) knows(link int, names []string) bool {
	known := map[string]bool{}
	for _, n := range t.all {
		if n.link == link {
			known[n.instance] = true
		}
	}
	return !slices.ContainsFunc(names, func(name string) bool { return !known[name] })
}

// only6 reports whether a device on a link is heard over IPv6 and not over IPv4.
func (t *table) only6(link int) bool {
	on4, on6 := map[string]bool{}, map[string]bool{}
	for at, n := range t.all {
		if n.link == link && n.instance != "" {
			if at.Addr().Is4() {
				on4[n.instance] = true
			} else {
				on6[n.instance] = true
			}
		}
	}
	for name := range on6 {
		if !on4[name] {
			return true
		}
	}
	return false
}

// sooner returns the earlier of two times; zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// first orders what is so before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
