package site

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// story is a site whose devices are all online unless they are away.
type story struct {
	t    testing.TB
	l    *leases
	now  time.Time
	away map[string]bool
}

func newStory(t testing.TB) *story {
	return &story{t: t, l: newLeases(), now: time.Unix(1_800_000_000, 0), away: map[string]bool{}}
}

func (s *story) ask(device, path string, isolated ...string) (*Lease, string) {
	s.t.Helper()
	lease, err := s.l.take("oslo", device, Request{Path: path, Last: 99, Isolated: isolated}, func(d string) bool { return !s.away[d] }, s.now)
	var held *HeldError
	if err != nil && (!errors.As(err, &held) || !errors.Is(err, ErrHeld) || lease != nil) {
		s.t.Fatal(lease, err)
	}
	if held != nil {
		return nil, held.Holder
	}
	return lease, ""
}

// granted expects a lease.
func (s *story) granted(device, path string, isolated ...string) *Lease {
	s.t.Helper()
	lease, holder := s.ask(device, path, isolated...)
	if holder != "" {
		s.t.Fatalf("%s waits for %s", device, holder)
	}
	return lease
}

func (s *story) refused(device, path, by string) {
	s.t.Helper()
	if _, holder := s.ask(device, path); holder != by {
		s.t.Fatalf("%s is held up by %q, not by %q", device, holder, by)
	}
}

func (s *story) pass(d time.Duration) { s.now = s.now.Add(d) }

func TestOneFetches(t *testing.T) {
	s := newStory(t)
	s.granted("a", "1")
	s.refused("b", "1", "a")
	s.granted("b", "2")
	a := s.granted("a", "1") // it asks again
	s.refused("b", "1", "a")
	a.End(true, s.now)
	s.refused("b", "1", "a")
	s.pass(heldFor - time.Second)
	s.refused("c", "1", "a")
	s.pass(time.Second)
	s.granted("c", "1")
}

func TestLeasesOfOtherSitesAndRanges(t *testing.T) {
	s := newStory(t)
	s.granted("a", "1")
	everybody := func(string) bool { return true }
	for _, q := range []Request{{Path: "1", First: 1, Last: 99}, {Path: "1", Last: 98}, {Path: "11", Last: 99}} {
		if _, err := s.l.take("oslo", "b", q, everybody, s.now); err != nil {
			t.Error(q, err)
		}
	}
	if _, err := s.l.take("rome", "c", Request{Path: "1", Last: 99}, everybody, s.now); err != nil {
		t.Error(err)
	}
}

func TestWhatStandsStillIsLost(t *testing.T) {
	s := newStory(t)
	a := s.granted("a", "1")
	s.pass(movingFor - time.Second)
	a.Moved(s.now)
	s.pass(movingFor - time.Second)
	s.refused("b", "1", "a")
	s.pass(time.Second)
	b := s.granted("b", "1")
	b.End(false, s.now) // broken off
	s.granted("c", "1")
}

func TestWhoGoesLosesAll(t *testing.T) {
	s := newStory(t)
	s.granted("a", "1").End(true, s.now)
	s.granted("a", "2").End(true, s.now)
	s.away["a"] = true
	s.granted("b", "1")
	s.l.drop("a")
	s.away["a"] = false // back, with an empty disk perhaps
	s.granted("b", "2")
	s.granted("a", "3")
	s.refused("b", "3", "a")
}

// A device that cannot reach the holder is served at once, with that and with all else that it holds, for a while.
func TestIsolated(t *testing.T) {
	s := newStory(t)
	s.granted("a", "1").End(true, s.now)
	s.granted("a", "2").End(true, s.now)
	s.refused("b", "1", "a")
	s.granted("b", "1", "a").End(true, s.now)
	s.granted("b", "2")
	s.pass(excusedFor)
	a := s.granted("a", "3")
	s.refused("b", "3", "a")
	a.End(true, s.now)
}

// Two islands have a holder each: who cannot reach the one may reach the other.
func TestIslands(t *testing.T) {
	s := newStory(t)
	s.granted("a1", "1").End(true, s.now)
	s.granted("b1", "1", "a1").End(true, s.now)
	s.refused("a2", "1", "a1")
	s.refused("b2", "1", "a1")
	if _, holder := s.ask("b2", "1", "a3"); holder != "a1" {
		t.Fatal(holder)
	}
	// Two that cannot reach a1 are enough to take it for gone; b1 is left, for both islands.
	if _, holder := s.ask("b2", "1", "a1"); holder != "b1" {
		t.Fatal(holder)
	}
	s.refused("a2", "1", "b1")
}

// Whoever has waited long enough is served, whatever the holder does.
func TestPatienceEnds(t *testing.T) {
	s := newStory(t)
	a := s.granted("a", "1")
	for begin := s.now; s.now.Sub(begin) < waitMoving; s.pass(5 * time.Second) {
		a.Moved(s.now)
		s.refused("b", "1", "a")
	}
	a.Moved(s.now)
	s.granted("b", "1")
	s.granted("a", "2").End(true, s.now)
	s.refused("b", "2", "a")
	s.refused("c", "2", "a")
	s.pass(waitHeld)
	s.granted("c", "2")
	for _, path := range []string{"3", "4", "5", "6"} {
		s.granted("a", path).End(true, s.now)
	}
	s.refused("c", "3", "a")
	s.refused("c", "4", "a")
	s.refused("c", "5", "a")
	s.pass(waitHeld)
	s.granted("c", "3")
	s.granted("c", "4")
	s.refused("c", "6", "a") // it may be slow
	s.granted("c", "5")
	s.granted("c", "6") // it does not give
}

// However devices ask, come and go, the number of leases is bounded and nobody is held up for longer than a minute.
func TestALeaseNeverBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, now := newLeases(), time.Unix(1_800_000_000, 0)
		devices := names(5)
		away := map[string]bool{}
		open := map[string]*Lease{}
		type want struct{ device, path string }
		since := map[want]time.Time{}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 9000).Draw(t, "ms")) * time.Millisecond)
			d := rapid.SampledFrom(devices).Draw(t, "device")
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0:
				if away[d] = !away[d]; away[d] {
					l.drop(d)
				}
			case 1:
				open[d].End(rapid.Bool().Draw(t, "complete"), now)
			case 2:
				for _, k := range slices.Sorted(maps.Keys(open)) {
					open[k].Moved(now)
				}
			default:
				w := want{d, fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "path"))}
				lease, err := l.take("s", d, Request{Path: w.path}, func(o string) bool { return !away[o] }, now)
				if err == nil {
					open[d] = lease
					delete(since, w)
					continue
				}
				var held *HeldError
				if !errors.As(err, &held) || held.Holder == d || away[held.Holder] {
					t.Fatalf("%s is held up by %v", d, err)
				}
				if since[w].IsZero() {
					since[w] = now
				}
				// Each of the others may hold it up once.
				if now.Sub(since[w]) > time.Duration(len(devices)-1)*waitMoving {
					t.Fatalf("%s waits for %s since %s", d, w.path, now.Sub(since[w]))
				}
			}
		}
	})
}

func TestLeasesAreBounded(t *testing.T) {
	l, now := newLeases(), time.Unix(1_800_000_000, 0)
	everybody := func(string) bool { return true }
	for i := range maxLeases + 3*maxSite {
		if _, err := l.take(fmt.Sprint("s", i/(2*maxSite)), "a", Request{Path: fmt.Sprint(i)}, everybody, now); err != nil {
			t.Fatal(err)
		}
	}
	if l.order.Len() > maxLeases || len(l.by) != l.order.Len() {
		t.Error(l.order.Len(), len(l.by))
	}
	for site, n := range l.count {
		if n > maxSite {
			t.Errorf("%s has %d leases", site, n)
		}
	}
	for i := range maxExcused + 100 {
		l.mu.Lock()
		l.isolate(pair{fmt.Sprint("d", i), fmt.Sprint("h", i)}, now)
		l.mu.Unlock()
	}
	if len(l.excused) > maxExcused || len(l.missed) > maxExcused {
		t.Error(len(l.excused), len(l.missed))
	}
}
