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

// TestBoard holds what travels: what a pack covers goes only to who asks anew.
func TestBoard(t *testing.T) {
	covers := set(20, 1, 2, 3, 19)
	b := exchange.NewBoard(20, swarm.Pack{ID: "p", Chunks: covers})
	b.Post(set(20, 5), set(20, 1, 2, 3, 9), 77)
	want := exchange.State{
		Revision: 2, Chunks: 20, Have: set(20, 5).Bytes(), Fetching: []int{1, 3, 9, 1}, Pack: "p", Covers: covers.Bytes(), Received: 77,
	}
	if diff := cmp.Diff(want, b.Await(t.Context(), 0)); diff != "" {
		t.Error(diff)
	}
	want.Covers = nil
	if diff := cmp.Diff(want, b.Await(t.Context(), 1)); diff != "" {
		t.Error(diff)
	}
}

func TestBoardAwaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := exchange.NewBoard(8, swarm.Pack{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		time.AfterFunc(10*time.Second, func() { b.Post(set(8, 1), swarm.Set{}, 0) })
		began := time.Now()
		if s := b.Await(ctx, 1); s.Revision != 2 || time.Since(began) != 10*time.Second {
			t.Errorf("revision %d after %s", s.Revision, time.Since(began))
		}
		if s := b.Await(ctx, 2); s.Revision != 2 || time.Since(began) != time.Minute {
			t.Errorf("revision %d after %s", s.Revision, time.Since(began))
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
