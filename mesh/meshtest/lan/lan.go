// Package lan is a site in memory and in virtual time, for tests of who fetches what from whom: the pure cores of real
// devices (mesh/swarm), a LAN with latencies, losses, rates and partitions, an uplink that all share, and neighbours that
// lie, stall and die. Half a minute of fifty devices takes a second.
//
//	l := lan.New(lan.Site{Devices: 50, Chunks: 160})
//	l.At(8*time.Second, func() { l.Device(3).Die() })
//	err := l.Run()
//	l.Copies(ideal)
//
// What is as on a real site: devices follow a few others (swarm.Links), who take so many followers and no more; news goes on
// from follower to follower; a request to a neighbour that died is answered by nothing for a while.
package lan

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// Site describes a site; zero values stand for what is said.
type Site struct {
	Devices int
	Chunks  int // a multiple of eight
	Seed    uint64

	ChunkTime time.Duration // of the uplink for a chunk; 100 ms
	PatchTime time.Duration // of the uplink for each chunk of a group; 15 ms
	PortTime  time.Duration // of a device's port for a chunk, each way; 4 ms
	Latency   time.Duration // of the LAN; 1 ms
	News      time.Duration // between two announcements of a device; 50 ms
	Sight     time.Duration // until devices see each other, at most; 500 ms
	Timeout   time.Duration // of a request that nobody answers; 3 s
	Loss      float64       // part of requests between neighbours that fail

	Start  func(device int) time.Duration         // of a device; all at 0
	Edit   func(device int, o *swarm.Options)     // of a device's options; none
	Port   func(device int) time.Duration         // for devices with another PortTime; none
	Apart  func(a, b int, now time.Duration) bool // cannot reach each other; none
	Follow int                                    // links of a device; swarm.Follows
}

// LAN plays a site.
type LAN struct {
	Site
	Fetched map[int]int    // chunk → how often it crossed the uplink
	Spent   time.Duration  // of the uplink, in all
	Took    time.Duration  // until a device last got what it lacked
	Asked   int            // requests between neighbours, news included
	Plain   int            // chunks that neighbours gave, one by one
	Patches int            // and patches of groups
	Accused map[string]int // devices, by how many others

	now     time.Duration
	queue   happenings
	serial  int
	devices []*Device
	busy    []*transfer
	carries bool
	random  *rand.Rand
	err     error
}

// New makes a site.
func New(s Site) *LAN {
	for _, d := range []struct {
		what *time.Duration
		is   time.Duration
	}{
		{&s.ChunkTime, 100 * time.Millisecond},
		{&s.PatchTime, 15 * time.Millisecond},
		{&s.PortTime, 4 * time.Millisecond},
		{&s.Latency, time.Millisecond},
		{&s.News, 50 * time.Millisecond},
		{&s.Sight, 500 * time.Millisecond},
		{&s.Timeout, 3 * time.Second},
	} {
		*d.what = cmp.Or(*d.what, d.is)
	}
	l := &LAN{Site: s, Fetched: map[int]int{}, Accused: map[string]int{}, random: rand.New(rand.NewPCG(s.Seed, 1))}
	for i := range s.Devices {
		d := newDevice(l, i)
		l.devices = append(l.devices, d)
		var start time.Duration
		if s.Start != nil {
			start = s.Start(i)
		}
		l.At(start, d.begin)
	}
	return l
}

// Device returns a device by its number.
func (l *LAN) Device(i int) *Device { return l.devices[i] }

// Now is the time since the beginning.
func (l *LAN) Now() time.Duration { return l.now }

// At lets something happen at a time since the beginning.
func (l *LAN) At(t time.Duration, do func()) {
	l.serial++
	heap.Push(&l.queue, happening{max(t, l.now), l.serial, do})
}

func (l *LAN) after(d time.Duration, do func()) { l.At(l.now+d, do) }

// most is how long a site may take.
const most = 20 * time.Minute

// Run plays until nothing happens any more, and fails when a device that is well was left behind or something happened
// that cannot be.
func (l *LAN) Run() error {
	for l.queue.Len() > 0 && l.err == nil {
		h := heap.Pop(&l.queue).(happening)
		l.now = h.at
		h.do()
		if l.now > most {
			return fmt.Errorf("not done after %v: %w", most, l.left())
		}
		if l.left() == nil {
			break
		}
	}
	if l.err != nil {
		return l.err
	}
	return l.left()
}

// left returns an error that names the first device that is well and lacks something.
func (l *LAN) left() error {
	for _, d := range l.devices {
		if !d.dead && d.Nature == Honest && !d.swarm.Done() {
			return fmt.Errorf("%s was left behind with %d of %d chunks", d.ID, d.swarm.Have().Count(), l.Chunks)
		}
	}
	return nil
}

// Copies returns what crossed the uplink, as a part of what one device needs of it.
func (l *LAN) Copies(ideal time.Duration) float64 { return float64(l.Spent) / float64(ideal) }

// Links returns how many follow each device that is in the swarm, sorted.
func (l *LAN) Links() (followers []int) {
	for _, d := range l.devices {
		followers = append(followers, len(d.followers))
	}
	slices.Sort(followers)
	return followers
}

// transfer is a request on the uplink.
type transfer struct {
	of     *Device
	chunks []int
	patch  bool // they come out of it
	left   time.Duration
}

// quantum is the share of the uplink that a request gets in turn.
const quantum = 10 * time.Millisecond

// fetch puts a request on the uplink.
func (l *LAN) fetch(d *Device, chunks []int) {
	x := &transfer{of: d, chunks: chunks, left: l.ChunkTime}
	if group := d.groupOf(chunks[0]); group > 0 { // the whole group crosses, or a few of its chunks plain
		plain := l.ChunkTime * time.Duration(len(chunks))
		x.left = min(l.PatchTime*time.Duration(group), plain)
		x.patch = x.left < plain
	} else if len(chunks) != 1 {
		l.err = fmt.Errorf("%s asks for %v together, which no patch yields", d.ID, chunks)
	}
	l.busy = append(l.busy, x)
	l.carry()
}

// carry gives every request its share of the uplink in turn, until there is none.
func (l *LAN) carry() {
	if l.carries || len(l.busy) == 0 {
		return
	}
	l.carries = true
	x := l.busy[0]
	share := min(quantum, x.left)
	l.after(share, func() {
		l.carries, l.Spent = false, l.Spent+share
		l.busy = l.busy[1:]
		x.left -= share
		x.of.received += int64(share)
		switch {
		case x.of.dead:
		case x.left > 0:
			l.busy = append(l.busy, x)
			if l.now-x.of.toldBytes > time.Second {
				x.of.toldBytes = l.now
				x.of.changed()
			}
		default:
			if x.patch {
				x.of.kept.Add(x.of.group[x.chunks[0]])
			}
			for _, c := range x.chunks {
				l.Fetched[c]++
				x.of.step(swarm.Got{Chunk: c})
			}
		}
		l.carry()
	})
}

type happening struct {
	at     time.Duration
	serial int
	do     func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].serial < h[j].serial
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func sorted[V any](m map[int]V) []int { return slices.Sorted(maps.Keys(m)) }
