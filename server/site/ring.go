package site

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

const (
	beside = 4                            // neighbours on each side of the ring
	across = protocol.MaxPeers - 2*beside // and farther away
	depots = 4                            // of those, if there are so many: they have what others want
)

// place is where a device stands on the ring: a hash of its id, so that nobody chooses it freely and the order says
// nothing about who was there first.
type place struct {
	at     uint64
	device string
}

func placeOf(device string) place {
	sum := sha256.Sum256([]byte("waxwing site\x00" + device))
	return place{binary.BigEndian.Uint64(sum[:]), device}
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.at, q.at), cmp.Compare(p.device, q.device))
}

// ring is the devices of a site in the order of their places.
type ring []place

func newRing(devices []string) ring {
	r := make(ring, len(devices))
	for i, d := range devices {
		r[i] = placeOf(d)
	}
	slices.SortFunc(r, place.compare)
	return r
}

// choose returns whom a device is told, sorted: everybody in a small site; else the next four on either side of the ring,
// so that all hang together, and those that stand half, a quarter, an eighth … of the ring ahead, as in Chord, so that
// any two are a few steps apart. It depends on nothing but who is in the ring, and one who comes or goes changes the
// choice of those near it and of the few that point there. A few of those that stock releases come first, if there are any.
func (r ring) choose(device string, stock []string) []string {
	me := placeOf(device)
	i, here := slices.BinarySearchFunc(r, me, place.compare)
	if !here {
		return nil
	}
	var out []string
	name := func(d string) {
		if d != device && !slices.Contains(out, d) && len(out) < protocol.MaxPeers {
			out = append(out, d)
		}
	}
	add := func(n int) { name(r[(n%len(r)+len(r))%len(r)].device) }
	if len(r) <= protocol.MaxPeers+1 {
		for n := range r {
			add(n)
		}
		slices.Sort(out)
		return out
	}
	for _, d := range stock[:min(len(stock), depots)] {
		name(d)
	}
	for n := 1; n <= beside; n++ {
		add(i + n)
		add(i - n)
	}
	for n := 1; n <= across; n++ {
		ahead := place{at: me.at + 1<<(64-n)} // wraps around, as the ring does
		at, _ := slices.BinarySearchFunc(r, ahead, place.compare)
		add(at)
	}
	for n := beside + 1; len(out) < protocol.MaxPeers; n++ { // some of those ahead stand beside it
		if add(i + n); len(out) < protocol.MaxPeers {
			add(i - n)
		}
	}
	slices.Sort(out)
	return out
}
