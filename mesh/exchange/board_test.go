package exchange_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

func set(n int, members ...int) swarm.Set {
	s := swarm.NewSet(n)
	for _, c := range members {
		s.Add(c)
	}
	return s
}

// TestBoard holds what travels: what a pack covers, and words of others, go once to each who asks on.
func TestBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		covers := set(20, 1, 2, 3, 19)
		b := exchange.NewBoard("me", 20, swarm.Pack{ID: "p", Chunks: covers})
		first := b.Await(t.Context(), 0)
		b.Post(swarm.PeerSeen{Have: set(20, 5), Claims: set(20, 1, 2, 3, 9), Site: swarm.Near{7: 2, 8: 2}, Patches: set(9, 4, 5), Received: 77})
		if news := b.Hear([]swarm.Word{{Device: "you", Revision: 5, Claims: set(20, 4)}, {Device: "me", Revision: 1 << 60}}, nil); len(news) != 1 {
			t.Errorf("news %v", news)
		}
		time.Sleep(time.Second)
		if news := b.Hear([]swarm.Word{{Device: "you", Revision: 4}}, []exchange.Pack{{ID: "q", Covers: covers.Bytes()}, {ID: "r", Covers: []byte{1}}}); len(news) != 0 {
			t.Errorf("old news %v", news)
		}
		time.Sleep(time.Second)
		want := exchange.State{
			Revision: first.Revision + 3, Chunks: 20, Have: set(20, 5).Bytes(), Fetching: []int{1, 3, 9, 1}, Near: []int{7, 2, 2}, Pack: "p", Patches: []int{4, 2}, Received: 77,
			Words: []exchange.Word{
				{Device: "you", Revision: 5, Fetching: []int{4, 1}},
				{Device: "me", Revision: first.Revision + 1, Fetching: []int{1, 3, 9, 1}, Pack: "p", Received: 77},
			},
			Packs: []exchange.Pack{{ID: "q", Covers: covers.Bytes()}},
		}
		if diff := cmp.Diff(want, b.Await(t.Context(), first.Revision)); diff != "" {
			t.Error(diff)
		}
		want.Words, want.Packs = nil, want.Packs[:1]
		if diff := cmp.Diff(want, b.Await(t.Context(), first.Revision+2)); diff != "" {
			t.Error(diff)
		}
		if all := b.Await(t.Context(), 0); len(all.Packs) != 2 || len(all.Words) != 2 {
			t.Errorf("asked anew: %+v", all)
		}
	})
}

// TestBoardPassesOnTogether lets words come one after the other: those that claim something new go on soon, the others with
// them or later, and not each by itself.
func TestBoardPassesOnTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := exchange.NewBoard("me", 8, swarm.Pack{})
		now, began := b.Await(t.Context(), 0).Revision, time.Now()
		var revision uint64
		says := func(device string, claims ...int) {
			revision++
			if news := b.Hear([]swarm.Word{{Device: device, Revision: revision, Claims: set(8, claims...), Received: int64(revision)}}, nil); len(news) != 1 {
				t.Errorf("news %v", news)
			}
		}
		next := func(at time.Duration, words int) {
			t.Helper()
			s := b.Await(t.Context(), now)
			if now++; s.Revision != now || time.Since(began) != at || len(s.Words) != words {
				t.Errorf("revision %d, %d expected, after %s: %v", s.Revision, now, time.Since(began), s.Words)
			}
		}
		says("a", 1)
		says("b", 2)
		next(20*time.Millisecond, 2) // nobody had heard of them
		says("a", 1)
		time.Sleep(100 * time.Millisecond)
		says("b", 2)
		next(270*time.Millisecond, 2) // they only receive
		says("a", 1)
		time.Sleep(100 * time.Millisecond)
		says("b", 3)
		next(390*time.Millisecond, 2)
		ctx, over := context.WithTimeout(t.Context(), time.Minute)
		defer over()
		if s := b.Await(ctx, now); s.Revision != now {
			t.Errorf("there is news when nobody says anything: %v", s.Words)
		}
	})
}

func TestBoardAwaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := exchange.NewBoard("me", 8, swarm.Pack{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		now := b.Await(ctx, 0).Revision
		time.AfterFunc(10*time.Second, func() { b.Post(swarm.PeerSeen{Have: set(8, 1)}) })
		began := time.Now()
		if s := b.Await(ctx, now); s.Revision != now+1 || time.Since(began) != 10*time.Second {
			t.Errorf("revision %d after %s", s.Revision, time.Since(began))
		}
		if s := b.Await(ctx, now+1); s.Revision != now+1 || time.Since(began) != time.Minute {
			t.Errorf("revision %d after %s", s.Revision, time.Since(began))
		}
	})
}

// TestFollowers holds that places are few, that the ring has its own, and that they become free.
func TestFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := exchange.NewBoard("me", 8, swarm.Pack{})
		var leave []func()
		enter := func(id string, first, want bool) {
			t.Helper()
			l, ok := b.Enter(id, first)
			if ok != want {
				t.Fatalf("%s: %v", id, ok)
			}
			if ok {
				leave = append(leave, l)
			}
		}
		enter("a", false, true)
		enter("b", false, true)
		enter("c", false, false)
		enter("a", false, true) // is in already
		enter("c", true, true)
		enter("d", true, true)
		enter("e", true, false)
		for _, l := range leave {
			l()
		}
		time.Sleep(time.Second)
		enter("e", true, false) // they come again soon
		time.Sleep(2 * time.Second)
		enter("e", true, true)
		if got := len(b.Came()); got != 5 {
			t.Errorf("%d came", got)
		}
	})
}

// TestInterest ends when it is taken back, and by itself.
func TestInterest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := exchange.NewServer(exchange.Options{})
		one, two := firmware.Sum([]byte("1")), firmware.Sum([]byte("2"))
		s.Say(one, exchange.Seeking, time.Second)
		s.Say(two, exchange.Fetching, 3*time.Second)
		s.Say(one, exchange.Fetching, 2*time.Second)
		if a, b := s.Interest(one), s.Interest(two); a != exchange.Fetching || b != exchange.Fetching {
			t.Errorf("%q %q", a, b)
		}
		time.Sleep(2 * time.Second)
		if a, b := s.Interest(one), s.Interest(two); a != exchange.None || b != exchange.Fetching {
			t.Errorf("after 2 s: %q %q", a, b)
		}
		s.Say(two, exchange.None, 0)
		if b := s.Interest(two); b != exchange.None {
			t.Errorf("taken back: %q", b)
		}
	})
}
