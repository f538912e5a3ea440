package discovery

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// alike tells every device that all others are good.
func alike(all []*player) {
	for _, p := range all {
		p.mu.Lock()
		sees := p.sees
		p.mu.Unlock()
		for _, at := range sees {
			p.judged <- Verdict{at, true}
		}
	}
	synctest.Wait()
}

// TestLoss: where a third of the packets is lost each way, all are found, and those that are good are not forgotten.
func TestLoss(t *testing.T) {
	stage(t, 10, true, func(e *ether, all []*player) {
		e.lets(func(from, to int, _ family) bool { return from == to || rand.Float64() > 0.33 })
		after(t, 20*time.Second, 9, all...)
		alike(all)
		for range 3 {
			all[3].look <- struct{}{}
			after(t, 30*time.Second, 9, all...)
		}
	})
}

// TestPartition: who cannot be heard is forgotten, and found again.
func TestPartition(t *testing.T) {
	stage(t, 6, true, func(e *ether, all []*player) {
		after(t, time.Second, 5, all...)
		alike(all)
		e.lets(func(from, to int, _ family) bool { return (from < 4) == (to < 4) })
		for _, p := range all {
			p.look <- struct{}{}
		}
		after(t, 15*time.Second, 2, all...)
		e.lets(func(int, int, family) bool { return true })
		after(t, 2*time.Minute, 5, all...)
	})
}

// TestDrops: nobody is forgotten while packets are dropped unseen.
func TestDrops(t *testing.T) {
	stage(t, 3, true, func(e *ether, all []*player) {
		after(t, time.Second, 2, all...)
		e.lets(func(from, to int, _ family) bool { return from == to })
		for range 20 {
			all[0].look <- struct{}{}
			time.Sleep(1500 * time.Millisecond)
			e.mu.Lock()
			for _, m := range e.all {
				if m.device == 1 {
					m.flood++
				}
			}
			e.mu.Unlock()
		}
		after(t, 0, 2, all[0])
		all[0].look <- struct{}{}
		after(t, 15*time.Second, 0, all[0])
	})
}

// TestFalseGoodbye: somebody says goodbye in another's name, from his own address and then from the other's.
func TestFalseGoodbye(t *testing.T) {
	stage(t, 4, true, func(e *ether, all []*player) {
		after(t, 5*time.Second, 3, all...)
		alike(all)
		c, err := newCodec(all[1].room.name, "fleet", wired(2), 1002)
		if err != nil {
			t.Fatal(err)
		}
		bye, err := c.answer(true)
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []int{3, 2} {
			liar := &mouth{ether: e, device: 9, family: v4, from: wired(from).prefixes[v4].Addr()}
			if err := liar.send(bye); err != nil {
				t.Fatal(err)
			}
			after(t, 5*time.Second, 3, all...)
		}
	})
}

// TestKinds: those that speak one family only are found by one that speaks both, also when they come late.
func TestKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEther()
		speaks := func(n int, f family) bool { return n == 1 || (n == 2) == (f == v4) } // 1 both, 2 only IPv4, 3 only IPv6
		e.pass = func(from, to int, f family) bool { return speaks(from, f) && speaks(to, f) }
		var all []*player
		for n := 1; n <= 3; n++ {
			all = append(all, e.play(t.Context(), n, true))
			time.Sleep(10 * time.Hour)
		}
		after(t, time.Second, 2, all[0])
		after(t, 0, 1, all[1:]...)
		if all[0].sees[0] != netip.MustParseAddrPort("10.0.0.2:1002") || all[0].sees[1] != netip.MustParseAddrPort("[fe80::3%eth0]:1003") {
			t.Errorf("over both: %v", all[0].sees)
		}
		if all[2].sees[0] != netip.MustParseAddrPort("[fe80::1%eth0]:1001") {
			t.Errorf("over IPv6: %v", all[2].sees)
		}
		for _, p := range all {
			p.leave()
			p.ended.Wait()
		}
	})
}

// TestReturn: a link that is gone for a moment loses nobody; one that stays away does.
func TestReturn(t *testing.T) {
	stage(t, 3, true, func(_ *ether, all []*player) {
		n := wired(1)
		there, gone := map[string]network{n.key(): n}, map[string]network{}
		after(t, time.Second, 2, all...)
		all[0].links <- gone
		after(t, lostTime/2, 2, all[0])
		all[0].links <- there
		after(t, time.Minute, 2, all...)
		all[0].links <- gone
		after(t, lostTime+time.Second, 0, all[0])
		all[0].links <- there
		after(t, time.Second, 2, all...)
		other := wired(77) // and another address of its own is another link, with the same neighbours
		all[0].links <- map[string]network{other.key(): other}
		after(t, time.Minute, 2, all[0])
		want := netip.AddrPortFrom(wired(2).prefixes[v4].Addr(), 1002)
		if all[0].sees[0] != want {
			t.Errorf("sees %v", all[0].sees)
		}
	})
}
