package swarm_test

import (
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/meshtest/lan"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// linked plays a site whose devices have the links that a list says, again and again.
func linked(t *testing.T, n, chunks int, links ...swarm.Link) *lan.LAN {
	t.Helper()
	l := play(t, lan.New(lan.Site{Devices: n, Chunks: chunks, Edit: func(i int, o *swarm.Options) { o.Link = links[i%len(links)] }}))
	if copies := l.Copies(time.Duration(chunks) * l.ChunkTime); copies > 1.03 {
		t.Errorf("%v: %.3f copies over the uplink", links, copies)
	}
	if limit := time.Duration(chunks)*l.ChunkTime*12/10 + 3*time.Second; l.Took > limit {
		t.Errorf("%v: took %s", links, l.Took)
	}
	return l
}

// TestLinksShare holds who fetches for the site: wired devices four times as much as those on Wi-Fi, and who pays for bytes
// nothing, unless there is nobody else.
func TestLinksShare(t *testing.T) {
	const chunks, n = 640, 16
	received := func(l *lan.LAN) (by map[swarm.Link]time.Duration) {
		by = map[swarm.Link]time.Duration{}
		for i := range n {
			by[l.Device(i).Link()] += l.Device(i).Received()
		}
		return by
	}
	by := received(linked(t, n, chunks, swarm.Wired, swarm.WiFi))
	if ratio := float64(by[swarm.Wired]) / float64(by[swarm.WiFi]); ratio < 2.5 || ratio > 7 {
		t.Errorf("wired devices fetched %.1f times what those on Wi-Fi did", ratio)
	}
	for _, free := range []swarm.Link{swarm.Cellular, swarm.Battery} {
		if by := received(linked(t, n, chunks, swarm.WiFi, free)); by[free] > 0 {
			t.Errorf("%s fetched for %s beside devices on Wi-Fi", free, by[free])
		}
		linked(t, n, chunks, free) // they all finish
	}
	if by := received(linked(t, n, chunks, "", "a link of tomorrow")); by[""] == 0 || by["a link of tomorrow"] == 0 {
		t.Errorf("not all count as wired: %v", by)
	}
}

// TestWiredServe holds that a neighbour on a battery is asked for what nobody else has, and a wired one first.
func TestWiredServe(t *testing.T) {
	all := swarm.NewSet(8)
	for c := range 8 {
		all.Add(c)
	}
	asked := func(links map[string]swarm.Link) (by map[string]int) {
		s := swarm.New(swarm.Options{Self: "a", Chunks: 8, HoldOff: time.Second, Stall: time.Second})
		now := time.Unix(0, 0)
		for id, link := range links {
			s.Step(swarm.PeerSeen{Peer: id, Have: all, Link: link}, now)
		}
		by = map[string]int{}
		for _, effect := range s.Step(swarm.Began{}, now) {
			if e, ok := effect.(swarm.FromPeer); ok {
				by[e.Peer]++
			}
		}
		return by
	}
	if by := asked(map[string]swarm.Link{"b": swarm.Battery, "c": swarm.WiFi, "d": swarm.Wired}); by["d"] != 2 || by["b"] > 0 {
		t.Errorf("asked %v", by)
	}
	if by := asked(map[string]swarm.Link{"b": swarm.Battery}); by["b"] != 2 {
		t.Errorf("asked %v", by)
	}
}

// TestRestrained holds that a device that may not ask the origin neither does so nor holds the others up, and that all wait
// when nobody may.
func TestRestrained(t *testing.T) {
	const chunks, n = 320, 10
	l := lan.New(lan.Site{Devices: n, Chunks: chunks})
	for i := range n / 2 {
		l.At(time.Duration(i)*time.Second, func() { l.Device(i).Restrain(swarm.Limited) })
	}
	play(t, l)
	ideal := chunks * l.ChunkTime
	if copies := l.Copies(ideal); copies > 1.03 {
		t.Errorf("%.3f copies over the uplink", copies)
	}
	if l.Took > ideal*12/10+3*time.Second {
		t.Errorf("took %s", l.Took)
	}
	if got := l.Device(0).Received(); got > 0 {
		t.Errorf("a device that may not fetch fetched for %s", got)
	}
	if got, half := l.Device(4).Received(), ideal/n; got > half {
		t.Errorf("a device that might fetch for 4 s fetched for %s", got)
	}

	all := lan.New(lan.Site{Devices: 3, Chunks: chunks})
	const again = 30 * time.Second
	for i := range 3 {
		all.At(0, func() { all.Device(i).Restrain(swarm.Limited) })
		all.At(again, func() { all.Device(i).Restrain("") })
	}
	all.At(again-time.Millisecond, func() {
		if all.Spent > 0 {
			t.Errorf("the uplink was used for %s", all.Spent)
		}
	})
	play(t, all)
	if copies := all.Copies(ideal); copies > 1.03 {
		t.Errorf("%.3f copies over the uplink", copies)
	}
}

// TestSilent holds that a device that serves nothing fetches nothing for others, who do not wait for it, and finishes itself.
func TestSilent(t *testing.T) {
	const chunks, n = 320, 10
	l := lan.New(lan.Site{Devices: n, Chunks: chunks})
	for i := range 3 {
		l.At(0, func() { l.Device(i).Restrain(swarm.Silent) })
	}
	play(t, l)
	ideal := chunks * l.ChunkTime
	if copies := l.Copies(ideal); copies > 1.03 {
		t.Errorf("%.3f copies over the uplink", copies)
	}
	if l.Took > ideal*12/10+3*time.Second {
		t.Errorf("took %s", l.Took)
	}
	alone := lan.New(lan.Site{Devices: 1, Chunks: chunks})
	alone.At(0, func() { alone.Device(0).Restrain(swarm.Silent) })
	play(t, alone)
}
