package lan

import (
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// Nature is what a device is up to.
type Nature int

// Natures.
const (
	Honest  Nature = iota
	Liar           // says that it has everything, and gives wrong bytes
	Staller        // claims everything by the best of packs, says that it receives, and never has anything
	Gossip         // is honest of itself, and says of all others what a Staller says of itself
	Forger         // is honest but for patches: it says that it has all, and gives wrong ones
)

// Device is one of the site.
type Device struct {
	ID     string
	Nature Nature
	l      *LAN
	number int
	linkOf swarm.Link
	groups [][]int
	group  map[int]int // chunk → its group
	kept   swarm.Set   // groups whose patches it can pass on
	swarm  *swarm.Swarm
	links  *swarm.Links
	news   *swarm.News
	packs  map[string]swarm.Pack // of others, by id

	in        bool // the swarm
	dead      bool
	sees      map[int]bool
	following map[int]uint64 // → number of the news that it has sent
	followers map[int]bool   // → whether it is their next on the ring
	serial    uint64         // of the last change of news
	toldBytes time.Duration  // when it last said that it receives
	received  int64
	due       bool // an announcement
	lastSaid  time.Duration
	waken     time.Duration
	looks     bool
	free      [2]time.Duration // when the port can send and receive more
}

var epoch = time.Unix(0, 0).UTC()

func newDevice(l *LAN, i int) *Device {
	d := &Device{
		ID: fmt.Sprintf("d-%03d", i), l: l, number: i, group: map[int]int{}, news: swarm.NewNews(), packs: map[string]swarm.Pack{},
		sees: map[int]bool{}, following: map[int]uint64{}, followers: map[int]bool{},
	}
	o := swarm.Options{ID: "s", Self: d.ID, Chunks: l.Chunks, HoldOff: 1500 * time.Millisecond, Stall: 5 * time.Second}
	if l.Edit != nil {
		l.Edit(i, &o)
	}
	for i, g := range o.Groups {
		for _, c := range g {
			d.group[c] = i
		}
	}
	d.groups, d.linkOf = o.Groups, o.Link
	d.kept = swarm.NewSet(len(o.Groups))
	d.swarm = swarm.New(o)
	d.packs[d.swarm.Pack().ID] = d.swarm.Pack()
	d.links = swarm.NewLinks(swarm.LinkOptions{ID: "s", Self: d.ID, Most: l.Follow})
	return d
}

// Die lets a device go without a word.
func (d *Device) Die() { d.dead = true }

// Link is what it was made with.
func (d *Device) Link() swarm.Link { return d.linkOf }

// Restrain makes it limited or silent from now on, or with an empty link what it was.
func (d *Device) Restrain(to swarm.Link) { d.step(swarm.Restrained{To: to}) }

// Received is what it has had of the uplink.
func (d *Device) Received() time.Duration { return time.Duration(d.received) }

// Have returns how many chunks it has.
func (d *Device) Have() int { return d.swarm.Have().Count() }

// groupOf returns how many chunks come together with a chunk; 0: it comes by itself.
func (d *Device) groupOf(c int) int {
	if g, ok := d.group[c]; ok {
		return len(d.groups[g])
	}
	return 0
}

func (d *Device) begin() {
	d.in = true
	for _, other := range d.l.devices {
		if other == d || !other.in || other.dead || d.apart(other) {
			continue
		}
		d.l.after(d.soon(d.l.Sight), func() { d.see(other) })
		d.l.after(other.soon(d.l.Sight), func() { other.see(d) })
	}
	d.link(swarm.Began{})
	d.step(swarm.Began{})
}

// soon is some time below a limit.
func (d *Device) soon(most time.Duration) time.Duration {
	return time.Duration(d.l.random.Int64N(int64(most) + 1))
}

func (d *Device) apart(other *Device) bool {
	return d.l.Apart != nil && d.l.Apart(d.number, other.number, d.l.now)
}

func (d *Device) see(other *Device) {
	d.sees[other.number] = true
	var all []string
	for _, n := range sorted(d.sees) {
		all = append(all, d.l.devices[n].ID)
	}
	d.link(swarm.Sighted{Devices: all})
	d.believes(d.news.Since(0, d.now())) // some of it may have been of this one
}

// link lets the links take an event.
func (d *Device) link(event any) {
	if d.dead {
		return
	}
	for _, effect := range d.links.Step(event, d.now()) {
		switch e := effect.(type) {
		case swarm.Follow:
			d.follow(d.byID(e.Device), e.First)
		case swarm.Unfollow:
			other := d.byID(e.Device)
			delete(d.following, other.number)
			delete(other.followers, d.number)
			d.step(swarm.PeerLeft{Peer: e.Device})
		}
	}
	d.wake()
}

func (d *Device) byID(id string) *Device {
	for _, other := range d.l.devices {
		if other.ID == id {
			return other
		}
	}
	return nil
}

func (d *Device) now() time.Time { return epoch.Add(d.l.now) }

// follow asks a device for its news.
func (d *Device) follow(other *Device, first bool) {
	d.l.request(d, other, func(ok bool) {
		if !ok || !other.in || !other.room(d.number, first) {
			d.link(swarm.Refused{Device: other.ID, Busy: ok && other.in})
			return
		}
		d.following[other.number] = 0
		other.followers[d.number] = first
		d.link(swarm.Followed{Device: other.ID})
		other.send(d)
		other.link(swarm.Known{Devices: []string{d.ID}})
	})
}

// verify asks a device that is not followed where it stands.
func (d *Device) verify(other *Device) {
	d.l.request(d, other, func(ok bool) {
		if !ok || !other.in {
			d.lose(other)
			return
		}
		e := other.says(d)
		e.Once = true
		d.step(e)
	})
}

// room reports whether a device takes one more follower: those for whom it is the next on the ring have places of their own.
func (d *Device) room(number int, first bool) bool {
	same := 0
	for n, f := range d.followers {
		if n != number && f == first {
			same++
		}
	}
	if first {
		return same < swarm.FirstFollowers
	}
	return same < max(swarm.OtherFollowers, d.l.Follow)
}

// step lets the swarm take an event.
func (d *Device) step(event any) {
	if d.dead {
		return
	}
	lacked := !d.swarm.Done()
	for _, effect := range d.swarm.Step(event, d.now()) {
		switch e := effect.(type) {
		case swarm.FromOrigin:
			if d.Nature != Staller && d.Nature != Liar {
				d.l.fetch(d, e.Chunks)
			}
		case swarm.FromPeer:
			d.l.take(d, d.byID(e.Peer), e.Chunk)
		case swarm.PatchFromPeer:
			d.l.takePatch(d, d.byID(e.Peer), e)
		case swarm.Announce:
			d.changed()
		case swarm.Drop:
			if e.Kind != "" {
				d.l.Accused[e.Peer]++
			}
			d.link(swarm.Banned{Device: e.Peer})
		case swarm.Accuse:
			d.l.Accused[e.Peer]++
		case swarm.Verify:
			d.verify(d.byID(e.Peer))
		}
	}
	if lacked && d.swarm.Done() && d.Nature == Honest {
		d.l.Took = d.l.now
		d.changed()
	}
	d.wake()
}

// blink is how late a device may be with what it does by the clock.
const blink = 5 * time.Millisecond

// wake comes back when a core has something to do by the clock. It looks a moment later, as a device does much at once.
func (d *Device) wake() {
	if d.looks {
		return
	}
	d.looks = true
	d.l.after(blink, func() {
		d.looks = false
		next := d.swarm.Wake(d.now())
		if at := d.links.Wake(d.now()); next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
		at := next.Sub(epoch)
		if next.IsZero() || at == d.waken {
			return
		}
		d.waken = at
		d.l.At(at, func() {
			if d.waken == at { // else there is an earlier one
				d.waken = 0
			}
			d.link(swarm.Ticked{})
			d.step(swarm.Ticked{})
		})
	})
}
