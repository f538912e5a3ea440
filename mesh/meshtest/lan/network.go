package lan

import (
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// request plays a short question of one device to another: whether it was answered, and when that is known.
func (l *LAN) request(from, to *Device, then func(ok bool)) {
	l.Asked++
	if from.apart(to) || to.dead {
		l.after(l.Timeout, func() { then(false) })
		return
	}
	lost := l.random.Float64() < l.Loss
	l.after(2*l.Latency, func() { then(!lost && !to.dead) })
}

// take plays a request for a chunk.
func (l *LAN) take(d, from *Device, c int) {
	lost := func(e swarm.Lost) {
		e.From = from.ID
		d.step(e)
	}
	l.request(d, from, func(ok bool) {
		switch {
		case !ok:
			lost(swarm.Lost{Chunk: c})
			return
		case from.Nature == Liar:
			lost(swarm.Lost{Chunk: c, Wrong: true})
			return
		case !from.swarm.Have().Has(c):
			lost(swarm.Lost{Chunk: c, Absent: true})
			return
		}
		l.Plain++
		l.send(from, d, 1, func(ok bool) {
			if !ok {
				lost(swarm.Lost{Chunk: c})
				return
			}
			d.step(swarm.Got{Chunk: c})
		})
	})
}

// takePatch plays a request for the patch of a group.
func (l *LAN) takePatch(d, from *Device, e swarm.PatchFromPeer) {
	lost := func(is swarm.Lost) {
		is.From, is.Patch = from.ID, true
		for _, c := range e.Chunks {
			is.Chunk = c
			d.step(is)
		}
	}
	l.request(d, from, func(ok bool) {
		switch {
		case !ok:
			lost(swarm.Lost{})
			return
		case from.Nature != Forger && !from.kept.Has(e.Group):
			lost(swarm.Lost{Absent: true})
			return
		}
		l.Patches++
		part := float64(l.PatchTime) / float64(l.ChunkTime) // of what its chunks are in plain
		l.send(from, d, part*float64(d.groupOf(e.Chunks[0])), func(ok bool) {
			switch {
			case !ok:
				lost(swarm.Lost{})
			case from.Nature == Forger:
				lost(swarm.Lost{Wrong: true})
			default:
				d.kept.Add(e.Group)
				for _, c := range e.Chunks {
					d.step(swarm.Got{Chunk: c})
				}
			}
		})
	})
}

// send plays bytes, in chunks, from device to device. Ports carry one thing after the other.
func (l *LAN) send(from, to *Device, chunks float64, then func(ok bool)) {
	takes := func(d *Device) time.Duration { return time.Duration(float64(l.port(d)) * chunks) }
	from.free[0] = max(l.now, from.free[0]) + takes(from)
	to.free[1] = max(from.free[0], to.free[1]+takes(to)) // the switch holds what comes too fast
	l.At(to.free[1], func() {
		if from.dead {
			l.after(l.Timeout, func() { then(false) })
			return
		}
		then(true)
	})
}

func (l *LAN) port(d *Device) time.Duration {
	if l.Port != nil {
		if t := l.Port(d.number); t > 0 {
			return t
		}
	}
	return l.PortTime
}

// changed lets followers know soon: at most once in a while, as the device stands then.
func (d *Device) changed() {
	if d.due || d.dead {
		return
	}
	d.due = true
	d.l.At(max(d.l.now, d.lastSaid+d.l.News), func() {
		d.due, d.lastSaid = false, d.l.now
		for _, n := range sorted(d.followers) {
			d.send(d.l.devices[n])
		}
		if d.Nature == Staller || d.Nature == Gossip {
			d.received++
			d.l.after(time.Second, d.changed)
		}
	})
}

// send gives a follower what is new; one that has gone is noticed by its connection.
func (d *Device) send(to *Device) {
	since, still := to.following[d.number]
	if !still || to.dead {
		delete(d.followers, to.number)
		return
	}
	seen, words, number := d.says(to), d.news.Since(since, d.now()), d.serial
	to.following[d.number] = number
	d.l.after(d.l.Latency, func() {
		if _, still := to.following[d.number]; !still {
			return
		}
		if d.apart(to) || d.l.random.Float64() < d.l.Loss/10 { // TCP mends most
			to.lose(d)
			return
		}
		to.hears(seen, words)
	})
}

// lose ends the following of a device that does not answer.
func (d *Device) lose(other *Device) {
	delete(d.following, other.number)
	delete(other.followers, d.number)
	d.step(swarm.PeerGone{Peer: other.ID})
	d.link(swarm.Refused{Device: other.ID})
}

// Vanish lets the connections of a device that died break.
func (d *Device) Vanish() {
	for _, n := range sorted(d.followers) {
		d.l.devices[n].lose(d)
	}
}

// hears takes a device's news and passes on what is new to it.
func (d *Device) hears(seen swarm.PeerSeen, words []swarm.Word) {
	for id, pack := range d.byID(seen.Peer).packs {
		d.packs[id] = pack // what it has heard of, it can tell of
	}
	d.packs[seen.Pack.ID] = seen.Pack
	var heard []swarm.Word
	for _, w := range words {
		if w.Device == d.ID {
			continue
		}
		if fresh, _ := d.news.Hear(w, d.serial+1, d.now()); !fresh {
			continue
		}
		heard = append(heard, w)
		d.link(swarm.Known{Devices: []string{w.Device}})
	}
	d.step(seen)
	if len(heard) > 0 {
		d.believes(heard)
		d.serial++
		d.changed()
	}
}

// believes lets the core know what others say of devices that are in sight and not followed.
func (d *Device) believes(words []swarm.Word) {
	var heard swarm.PeersHeard
	for _, w := range words {
		other := d.byID(w.Device)
		if other == nil || other == d || !d.sees[other.number] {
			continue
		}
		if _, direct := d.following[other.number]; !direct {
			heard = append(heard, swarm.PeerHeard{Peer: w.Device, Claims: w.Claims, Pack: d.packs[w.Pack], Link: w.Link, Received: w.Received})
		}
	}
	if len(heard) > 0 {
		d.step(heard)
	}
}

// says is what a follower hears of a device, as it travels, and brings its own word up to date.
func (d *Device) says(to *Device) swarm.PeerSeen {
	all := swarm.NewSet(d.l.Chunks)
	for c := range d.l.Chunks {
		all.Add(c)
	}
	e := swarm.PeerSeen{
		Peer: d.ID, Have: d.swarm.Shows(), Claims: d.swarm.Claims().Clone(), Site: d.swarm.Site(), Pack: d.swarm.Pack(), Patches: d.kept.Clone(), Link: d.swarm.Link(), Received: d.received,
	}
	switch d.Nature {
	case Forger:
		for g := range d.groups {
			e.Patches.Add(g)
		}
	case Liar:
		e.Have, e.Site = all, nil
	case Staller:
		e.Have, e.Site = swarm.NewSet(d.l.Chunks), slices.Repeat(swarm.Near{1}, d.l.Chunks)
		e.Claims, e.Pack = all, swarm.Pack{ID: "~", Chunks: all}
	case Gossip:
		for _, other := range d.l.devices {
			if other != d && other != to {
				d.serial++
				d.news.Hear(swarm.Word{Device: other.ID, Revision: 1<<40 + uint64(d.received), Claims: all, Received: d.received}, d.serial, d.now())
			}
		}
	}
	w := swarm.Word{Device: d.ID, Claims: e.Claims, Pack: e.Pack.ID, Link: e.Link, Received: e.Received}
	if d.news.Say(w, d.serial+1, d.now()) {
		d.serial++
	}
	return e
}
