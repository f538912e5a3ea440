package swarm_test

import (
	"container/heap"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// lan is devices of one site in virtual time: an uplink that all requests share evenly, a LAN that takes a fixed time for
// a chunk, and news that travels with a delay.
type lan struct {
	t       *testing.T
	now     time.Time
	queue   happenings
	devices map[string]*device
	busy    []*transfer   // of the uplink
	spent   time.Duration // of the uplink, in all
	carries bool          // a share of it is under way
	fetched map[int]int   // chunk → how often it crossed the uplink
	done    time.Time     // when a device last got what it lacked
	seq     int

	chunkTime, patchTime, lanTime, gossip time.Duration
}

type device struct {
	s        *swarm.Swarm
	id       string
	liar     bool // claims everything, gives wrong bytes
	staller  bool // claims everything, fetches nothing and says that it receives
	dead     bool
	told     time.Time
	waken    time.Time
	received int64
}

// transfer is a request on the uplink.
type transfer struct {
	of   *device
	e    swarm.FromOrigin
	left time.Duration
}

// quantum is the share of the uplink that a request gets in turn.
const quantum = 10 * time.Millisecond

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

// newLAN makes a site of n devices; edit may give a device a pack, or chunks at hand.
func newLAN(t *testing.T, n, chunks int, start func(i int) time.Duration, edit func(i int, o *swarm.Options)) *lan {
	l := &lan{
		t: t, now: time.Unix(0, 0), devices: map[string]*device{}, fetched: map[int]int{},
		chunkTime: 100 * time.Millisecond, patchTime: 15 * time.Millisecond, lanTime: 8 * time.Millisecond, gossip: 200 * time.Millisecond,
	}
	for i := range n {
		d := &device{id: fmt.Sprintf("d-%02d", i)}
		o := swarm.Options{ID: "s", Self: d.id, Chunks: chunks, HoldOff: 1500 * time.Millisecond, Stall: 5 * time.Second}
		if edit != nil {
			edit(i, &o)
		}
		d.s = swarm.New(o)
		l.after(start(i), func() {
			l.devices[d.id] = d
			l.step(d, swarm.Began{})
			l.tell(d)
			for _, other := range l.sorted() {
				l.tell(other)
			}
		})
	}
	return l
}

// sorted returns the devices in an order that is the same each time.
func (l *lan) sorted() []*device {
	out := slices.Collect(maps.Values(l.devices))
	slices.SortFunc(out, func(a, b *device) int { return strings.Compare(a.id, b.id) })
	return out
}

// carry gives every request its share of the uplink in turn, until there is none.
func (l *lan) carry() {
	if l.carries || len(l.busy) == 0 {
		return
	}
	l.carries = true
	x := l.busy[0]
	d := min(quantum, x.left)
	l.after(d, func() {
		l.carries, l.spent = false, l.spent+d
		l.busy = l.busy[1:]
		x.left -= d
		x.of.received += int64(d)
		switch {
		case x.of.dead:
		case x.left > 0:
			l.busy = append(l.busy, x)
			l.tell(x.of)
		default:
			for _, c := range x.e.Chunks {
				l.fetched[c]++
				l.step(x.of, swarm.Got{Chunk: c})
			}
		}
		l.carry()
	})
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
			if d.staller {
				continue
			}
			x := &transfer{of: d, e: e, left: l.chunkTime}
			if d.s.Pack().Chunks.Has(e.Chunks[0]) { // the whole group crosses, or a few of its chunks plain
				x.left = min(l.patchTime*time.Duration(groupSize), l.chunkTime*time.Duration(len(e.Chunks)))
			} else if len(e.Chunks) != 1 {
				l.t.Errorf("%s asks for %v together, which no patch yields", d.id, e.Chunks)
			}
			l.busy = append(l.busy, x)
			l.carry()
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
		for _, other := range l.sorted() {
			if other == d || other.dead {
				continue
			}
			if d.dead {
				l.step(other, swarm.PeerGone{Peer: d.id})
				continue
			}
			l.step(other, d.says(l.t))
		}
		if d.staller && l.now.Before(time.Unix(900, 0)) {
			l.after(time.Second, func() { l.tell(d) })
		}
	})
}

// says is what neighbours hear of a device, as it travels.
func (d *device) says(t *testing.T) swarm.PeerSeen {
	n := len(d.s.Have().Bytes()) * 8
	all := swarm.NewSet(n)
	for c := range n {
		all.Add(c)
	}
	have, claims, pack := d.s.Have(), d.s.Claims(), d.s.Pack()
	if d.liar {
		have = all
	}
	if d.staller {
		have, claims, pack = swarm.NewSet(n), all, swarm.Pack{ID: "~", Chunks: all}
		d.received++
	}
	e := swarm.PeerSeen{Peer: d.id, Pack: pack, Received: d.received}
	var err, err2 error
	e.Have, err = swarm.ParseSet(n, have.Bytes())
	e.Claims, err2 = swarm.ParseRuns(n, claims.Runs())
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return e
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
	for _, d := range l.sorted() {
		if !d.dead && !d.liar && !d.staller && !d.s.Done() {
			l.t.Fatalf("%s was left behind with %d chunks", d.id, d.s.Have().Count())
		}
	}
	return l.done.Sub(time.Unix(0, 0))
}

// copies returns what crossed the uplink, as a part of what one device needs of it.
func (l *lan) copies(ideal time.Duration) float64 { return float64(l.spent) / float64(ideal) }

const chunks = 160 // a multiple of eight, so that a set's length tells it

func together(int) time.Duration { return 0 }

func TestOneCopyOverTheUplink(t *testing.T) {
	for _, n := range []int{1, 2, 8, 20, 50} {
		l := newLAN(t, n, chunks, together, nil)
		took := l.run()
		ideal := chunks * l.chunkTime
		if ratio := l.copies(chunks * l.chunkTime); ratio > 1.03 {
			t.Errorf("%d devices: %.2f copies over the uplink", n, ratio)
		}
		if limit := ideal*12/10 + 3*time.Second; took > limit {
			t.Errorf("%d devices took %s; the uplink needs %s", n, took, ideal)
		}
	}
}

func TestStartsSpread(t *testing.T) {
	l := newLAN(t, 20, chunks, func(i int) time.Duration { return time.Duration(i) * 1500 * time.Millisecond }, nil)
	l.run()
	if ratio := l.copies(chunks * l.chunkTime); ratio > 1.15 {
		t.Errorf("%.2f copies over the uplink", ratio)
	}
}

func TestSomeDie(t *testing.T) {
	l := newLAN(t, 20, chunks, together, nil)
	l.after(8*time.Second, func() {
		for i := range 4 {
			d := l.devices[fmt.Sprintf("d-%02d", i*5)]
			d.dead = true
			l.after(10*time.Second, func() { d.told = time.Time{}; l.tell(d) }) // its connections time out
		}
	})
	l.run()
	if ratio := l.copies(chunks * l.chunkTime); ratio > 1.10 {
		t.Errorf("%.2f copies over the uplink", ratio)
	}
}

func TestLiarsAreDropped(t *testing.T) {
	l := newLAN(t, 20, chunks, together, nil)
	l.after(0, func() {
		for i := range 2 {
			l.devices[fmt.Sprintf("d-%02d", i*7)].liar = true
		}
	})
	l.run()
	if ratio := l.copies(chunks * l.chunkTime); ratio > 1.15 {
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
