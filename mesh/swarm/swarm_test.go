package swarm_test

import (
	"container/heap"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// lan is devices of one site in virtual time: an uplink that carries one chunk after the other, a LAN that takes a fixed
// time for a chunk, and news that travels with a delay.
type lan struct {
	t       *testing.T
	now     time.Time
	queue   happenings
	devices map[string]*device
	uplink  time.Time // when it is free
	fetched int       // chunks over the uplink
	done    time.Time // when a device last got what it lacked
	seq     int

	chunkTime, lanTime, gossip time.Duration
}

type device struct {
	s     *swarm.Swarm
	id    string
	liar  bool // claims everything, gives wrong bytes
	dead  bool
	told  time.Time
	waken time.Time
}

type happening struct {
	at  time.Time
	seq int
	do  func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].seq < h[j].seq
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func (l *lan) after(d time.Duration, do func()) {
	l.seq++
	heap.Push(&l.queue, happening{l.now.Add(d), l.seq, do})
}

func newLAN(t *testing.T, n, chunks int, start func(i int) time.Duration) *lan {
	l := &lan{
		t: t, now: time.Unix(0, 0), devices: map[string]*device{},
		chunkTime: 100 * time.Millisecond, lanTime: 8 * time.Millisecond, gossip: 200 * time.Millisecond,
	}
	for i := range n {
		d := &device{id: fmt.Sprintf("d-%02d", i)}
		d.s = swarm.New(swarm.Options{ID: "s", Self: d.id, Chunks: chunks, HoldOff: 1500 * time.Millisecond, Stall: 5 * time.Second})
		l.after(start(i), func() {
			l.devices[d.id] = d
			l.step(d, swarm.Began{})
			l.tell(d)
			for _, other := range l.devices {
				l.tell(other)
			}
		})
	}
	return l
}

func (l *lan) step(d *device, event any) {
	if d.dead {
		return
	}
	lacked := !d.s.Done()
	defer func() {
		if lacked && d.s.Done() {
			l.done = l.now
		}
	}()
	for _, effect := range d.s.Step(event, l.now) {
		switch e := effect.(type) {
		case swarm.FromOrigin:
			if l.uplink.Before(l.now) {
				l.uplink = l.now
			}
			l.uplink = l.uplink.Add(l.chunkTime)
			l.fetched++
			l.after(l.uplink.Sub(l.now), func() { l.step(d, swarm.Got{Chunk: e.Chunk}) })
		case swarm.FromPeer:
			from := l.devices[e.Peer]
			l.after(l.lanTime, func() {
				switch {
				case from.dead:
					l.step(d, swarm.Lost{Chunk: e.Chunk})
				case from.liar:
					l.step(d, swarm.Lost{Chunk: e.Chunk, Wrong: true})
				case !from.s.Have().Has(e.Chunk):
					l.t.Errorf("%s asked %s for chunk %d, which it never had", d.id, e.Peer, e.Chunk)
				default:
					l.step(d, swarm.Got{Chunk: e.Chunk})
				}
			})
		case swarm.Announce:
			l.tell(d)
		}
	}
	if at := d.s.Wake(l.now); !at.IsZero() && !at.Equal(d.waken) {
		d.waken = at
		l.after(at.Sub(l.now), func() { l.step(d, swarm.Ticked{}) })
	}
}

// tell lets every other device know where d stands, at most once a gossip delay, as it stands when the news arrives.
func (l *lan) tell(d *device) {
	if d.told.After(l.now) {
		return
	}
	d.told = l.now.Add(l.gossip)
	l.after(l.gossip, func() {
		for _, other := range l.devices {
			if other == d || other.dead {
				continue
			}
			if d.dead {
				l.step(other, swarm.PeerGone{Peer: d.id})
				continue
			}
			have := d.s.Have()
			if d.liar {
				have = swarm.NewSet(len(have.Bytes()) * 8)
				for i := range len(have.Bytes()) * 8 {
					have.Add(i)
				}
			}
			seen, _ := swarm.ParseSet(len(have.Bytes())*8, have.Bytes())
			l.step(other, swarm.PeerSeen{Peer: d.id, Have: seen, Claims: d.s.Claims()})
		}
	})
}

// run plays until everybody living has everything and returns how long it took.
func (l *lan) run() time.Duration {
	l.t.Helper()
	for l.queue.Len() > 0 {
		h := heap.Pop(&l.queue).(happening)
		l.now = h.at
		h.do()
		if l.now.After(time.Unix(3600, 0)) {
			l.t.Fatal("not done after an hour")
		}
	}
	for _, d := range l.devices {
		if !d.dead && !d.liar && !d.s.Done() {
			l.t.Fatalf("%s was left behind with %d chunks", d.id, d.s.Have().Count())
		}
	}
	return l.done.Sub(time.Unix(0, 0))
}

const chunks = 160 // a multiple of eight, so that a set's length tells it

func together(int) time.Duration { return 0 }

func TestOneCopyOverTheUplink(t *testing.T) {
	for _, n := range []int{1, 2, 8, 20, 50} {
		l := newLAN(t, n, chunks, together)
		took := l.run()
		ideal := chunks * l.chunkTime
		if ratio := float64(l.fetched) / chunks; ratio > 1.03 {
			t.Errorf("%d devices: %.2f copies over the uplink", n, ratio)
		}
		if limit := ideal*12/10 + 3*time.Second; took > limit {
			t.Errorf("%d devices took %s; the uplink needs %s", n, took, ideal)
		}
	}
}

func TestStartsSpread(t *testing.T) {
	l := newLAN(t, 20, chunks, func(i int) time.Duration { return time.Duration(i) * 1500 * time.Millisecond })
	l.run()
	if ratio := float64(l.fetched) / chunks; ratio > 1.15 {
		t.Errorf("%.2f copies over the uplink", ratio)
	}
}

func TestSomeDie(t *testing.T) {
	l := newLAN(t, 20, chunks, together)
	l.after(8*time.Second, func() {
		for i := range 4 {
			d := l.devices[fmt.Sprintf("d-%02d", i*5)]
			d.dead = true
			l.after(10*time.Second, func() { d.told = time.Time{}; l.tell(d) }) // its connections time out
		}
	})
	l.run()
	if ratio := float64(l.fetched) / chunks; ratio > 1.10 {
		t.Errorf("%.2f copies over the uplink", ratio)
	}
}

func TestLiarsAreDropped(t *testing.T) {
	l := newLAN(t, 20, chunks, together)
	l.after(0, func() {
		for i := range 2 {
			l.devices[fmt.Sprintf("d-%02d", i*7)].liar = true
		}
	})
	l.run()
	if ratio := float64(l.fetched) / chunks; ratio > 1.15 {
		t.Errorf("%.2f copies over the uplink", ratio)
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
	if !s.Done() || len(s.Claims()) != 0 {
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
				flying = append(flying, e.Chunk)
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
