package swarm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/meshtest/lan"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// noticed is how long it takes until a neighbour that died is noticed by those who wait for its news.
const noticed = 7 * time.Second

// play runs a site to its end.
func play(t interface {
	Helper()
	Fatal(...any)
}, l *lan.LAN,
) *lan.LAN {
	t.Helper()
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	return l
}

// die lets every nth device die at a time; those who follow it notice it later.
func die(l *lan.LAN, nth int, at time.Duration) {
	for i := 0; i < l.Devices; i += nth {
		l.At(at, l.Device(i).Die)
		l.At(at+noticed, l.Device(i).Vanish)
	}
}

const chunks = 160

func TestOneCopyOverTheUplink(t *testing.T) {
	for _, n := range []int{1, 2, 8, 20, 50} {
		l := play(t, lan.New(lan.Site{Devices: n, Chunks: chunks}))
		ideal := chunks * l.ChunkTime
		if ratio := l.Copies(ideal); ratio > 1.03 {
			t.Errorf("%d devices: %.2f copies over the uplink", n, ratio)
		}
		if len(l.Accused) > 0 {
			t.Errorf("%d devices: accused without a reason: %v", n, l.Accused)
		}
		if limit := ideal*12/10 + 3*time.Second; l.Took > limit {
			t.Errorf("%d devices took %s; the uplink needs %s", n, l.Took, ideal)
		}
		if f := l.Links(); f[0] < min(1, n-1) || f[len(f)-1] > swarm.FirstFollowers+swarm.OtherFollowers {
			t.Errorf("%d devices: followers %v", n, f)
		}
	}
}

// TestBadNetworks plays what a LAN may do.
func TestBadNetworks(t *testing.T) {
	halves := func(from, to time.Duration) func(a, b int, now time.Duration) bool {
		return func(a, b int, now time.Duration) bool { return a%2 != b%2 && now >= from && now < to }
	}
	for _, c := range []struct {
		name   string
		site   lan.Site
		copies float64
	}{
		{"everybody follows everybody", lan.Site{Follow: 19}, 1.03},
		{"a slow LAN", lan.Site{Latency: 50 * time.Millisecond, PortTime: 20 * time.Millisecond}, 1.03},
		{"one request in fifty is lost", lan.Site{Loss: 0.02}, 1.05},
		{"a fifth of the ports are slow", lan.Site{Port: func(i int) time.Duration { return time.Duration(1-min(i%5, 1)) * 90 * time.Millisecond }}, 1.03},
		{"parted in the middle for 2 s", lan.Site{Apart: halves(8*time.Second, 10*time.Second)}, 1.10},
		{"parted from the beginning", lan.Site{Apart: halves(0, time.Hour)}, 2.03},
		{"spread over 60 s", lan.Site{Start: func(i int) time.Duration { return time.Duration(i) * 3 * time.Second }}, 1.03},
		{"spread over 6 s", lan.Site{Start: func(i int) time.Duration { return time.Duration(i) * 300 * time.Millisecond }}, 1.06},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(2) {
				c.site.Devices, c.site.Chunks, c.site.Seed = 20, chunks, seed
				l := play(t, lan.New(c.site))
				if ratio := l.Copies(chunks * l.ChunkTime); ratio > c.copies {
					t.Errorf("seed %d: %.3f copies over the uplink, %v", seed, ratio, l.Took)
				}
			}
		})
	}
}

// TestLateComer costs the uplink nothing.
func TestLateComer(t *testing.T) {
	l := play(t, lan.New(lan.Site{Devices: 20, Chunks: chunks, Start: func(i int) time.Duration {
		if i == 7 {
			return 40 * time.Second
		}
		return 0
	}}))
	if ratio := l.Copies(chunks * l.ChunkTime); ratio > 1.001 {
		t.Errorf("%.3f copies over the uplink", ratio)
	}
}

func TestSomeDie(t *testing.T) {
	for seed := range uint64(2) {
		l := lan.New(lan.Site{Devices: 20, Chunks: chunks, Seed: seed})
		die(l, 5, 8*time.Second)
		play(t, l)
		if ratio := l.Copies(chunks * l.ChunkTime); ratio > 1.10 {
			t.Errorf("%.2f copies over the uplink", ratio)
		}
	}
}

// TestBadNeighbours has one in ten that lies, stalls or forges the words of others.
func TestBadNeighbours(t *testing.T) {
	clean := play(t, lan.New(lan.Site{Devices: 20, Chunks: chunks})).Took
	for name, nature := range map[string]lan.Nature{"liars": lan.Liar, "stallers": lan.Staller, "gossips": lan.Gossip} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				l := lan.New(lan.Site{Devices: 20, Chunks: chunks, Seed: seed})
				l.Device(3).Nature, l.Device(13).Nature = nature, nature
				play(t, l)
				if ratio := l.Copies(chunks * l.ChunkTime); ratio > 1.15 {
					t.Errorf("%.2f copies over the uplink", ratio)
				}
				if l.Took > 2*clean {
					t.Errorf("took %v, %v without them", l.Took, clean)
				}
			}
		})
	}
}

func TestAloneStartsWithoutDelayWhenTold(t *testing.T) {
	s := swarm.New(swarm.Options{Self: "a", Chunks: 3})
	now := time.Unix(0, 0)
	if n := len(s.Step(swarm.Began{}, now)); n != 4 { // three fetches and one announcement
		t.Fatalf("%d effects", n)
	}
	for i := range 3 {
		s.Step(swarm.Got{Chunk: i}, now)
	}
	if !s.Done() || s.Claims().Count() != 0 {
		t.Fatalf("claims %v", s.Claims())
	}
}

func TestOriginFailsAndIsAskedAgainLater(t *testing.T) {
	s := swarm.New(swarm.Options{Self: "a", Chunks: 1, Stall: time.Second})
	now := time.Unix(0, 0)
	s.Step(swarm.Began{}, now)
	if out := s.Step(swarm.Lost{Chunk: 0}, now); len(out) != 0 {
		t.Fatalf("asked again at once: %v", out)
	}
	at := s.Wake(now)
	if !at.Equal(now.Add(time.Second)) {
		t.Fatalf("wakes at %v", at)
	}
	if out := s.Step(swarm.Ticked{}, at); len(out) == 0 {
		t.Fatal("never asked again")
	}
}

// TestOriginOutage holds that an origin that is down is asked a few times, ever less often, and in full when it is back.
func TestOriginOutage(t *testing.T) {
	s := swarm.New(swarm.Options{Self: "a", Chunks: 100, Stall: time.Second})
	now := time.Unix(0, 0)
	asked := 0
	var flying []int
	step := func(event any) {
		for _, effect := range s.Step(event, now) {
			if e, ok := effect.(swarm.FromOrigin); ok {
				asked++
				flying = append(flying, e.Chunks...)
			}
		}
	}
	step(swarm.Began{})
	for now.Before(time.Unix(60, 0)) {
		for _, c := range slices.Clone(flying) {
			flying = flying[1:]
			step(swarm.Lost{Chunk: c})
		}
		at := s.Wake(now)
		if at.IsZero() {
			t.Fatal("gave up")
		}
		now = at
		step(swarm.Ticked{})
	}
	if asked > 40 {
		t.Errorf("asked %d times in a minute of outage", asked)
	}
	before := now
	for !s.Done() {
		if len(flying) == 0 {
			now = s.Wake(now)
			step(swarm.Ticked{})
			continue
		}
		c := flying[0]
		flying = flying[1:]
		step(swarm.Got{Chunk: c})
	}
	if took := now.Sub(before); took > 20*time.Second {
		t.Errorf("took %s to go on", took)
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add(9, []byte{0xff, 1})
	f.Fuzz(func(t *testing.T, n int, b []byte) {
		if n < 0 || n > 1<<20 {
			return
		}
		s, err := swarm.ParseSet(n, b)
		if err == nil && s.Count() > n {
			t.Fatalf("%d members below %d", s.Count(), n)
		}
	})
}

// TestWaitsForWhoRestarts holds that what a neighbour with everything took along when it went is not fetched over the uplink
// before it has had time to start again, and is when it does not.
func TestWaitsForWhoRestarts(t *testing.T) {
	s := swarm.New(swarm.Options{Self: "a", Chunks: 2, Stall: time.Second})
	now := time.Unix(0, 0)
	all := swarm.NewSet(2)
	all.Add(0)
	all.Add(1)
	seen := swarm.PeerSeen{Peer: "b", Have: all}
	s.Step(seen, now)
	if out := s.Step(swarm.Began{}, now); len(out) != 2 {
		t.Fatalf("takes %v", out)
	}
	origin := func(out []any) (n int) {
		for _, effect := range out {
			if e, ok := effect.(swarm.FromOrigin); ok {
				n += len(e.Chunks)
			}
		}
		return n
	}
	if n := origin(s.Step(swarm.PeerGone{Peer: "b"}, now)); n != 0 {
		t.Fatalf("%d chunks over the uplink at once", n)
	}
	back := 0
	for _, effect := range s.Step(seen, now.Add(900*time.Millisecond)) {
		if _, ok := effect.(swarm.FromPeer); ok {
			back++
		}
	}
	if back != 2 {
		t.Fatalf("%d chunks from the neighbour that is back", back)
	}
	s.Step(swarm.PeerGone{Peer: "b"}, now.Add(time.Second))
	at := s.Wake(now.Add(time.Second))
	if !at.Equal(now.Add(2 * time.Second)) {
		t.Fatalf("wakes at %v", at)
	}
	if n := origin(s.Step(swarm.Ticked{}, at)); n != 2 {
		t.Fatalf("%d chunks over the uplink when it stays away", n)
	}
}
