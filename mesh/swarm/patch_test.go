package swarm_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/mesh/meshtest/lan"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// TestPatchesPassOn holds that devices with one base hand each other patches, and chunks to those without.
func TestPatchesPassOn(t *testing.T) {
	const chunks = 240
	groups := pack(chunks, 0, 50)
	single := chunks - len(groups)*groupSize
	for _, n := range []int{2, 8, 20, 50} {
		l := play(t, lan.New(lan.Site{Devices: n, Chunks: chunks, Edit: func(_ int, o *swarm.Options) { o.Groups = groups }}))
		t.Logf("%d devices: %d patches, %d chunks, of %d groups and %d chunks for each", n, l.Patches, l.Plain, len(groups), single)
		if least := (n - 1) * len(groups) * 95 / 100; l.Patches < least {
			t.Errorf("%d devices passed %d patches on; the others took %d groups", n, l.Patches, (n-1)*len(groups))
		}
		if most := (n-1)*single + n*len(groups)*groupSize/20; l.Plain > most {
			t.Errorf("%d devices passed %d chunks on; %d are in no group", n, l.Plain, (n-1)*single)
		}
	}
	l := play(t, lan.New(lan.Site{Devices: 20, Chunks: chunks, Edit: func(i int, o *swarm.Options) {
		if i%2 == 0 {
			o.Groups = groups
		}
	}}))
	if l.Patches < 9*len(groups)*3/10 || l.Plain < 10*(chunks-single) { // who follows others gets chunks from them
		t.Errorf("%d patches and %d chunks were passed on; half of the devices have the base", l.Patches, l.Plain)
	}
}

// TestForgedPatches has neighbours whose patches yield nothing: their chunks count.
func TestForgedPatches(t *testing.T) {
	const chunks = 240
	groups := pack(chunks, 0, 50)
	site := lan.Site{Devices: 20, Chunks: chunks, Edit: func(_ int, o *swarm.Options) { o.Groups = groups }}
	clean := play(t, lan.New(site)).Took
	l := lan.New(site)
	for i := range 3 {
		l.Device(5 * i).Nature = lan.Forger
	}
	took := play(t, l).Took
	if copies := l.Copies(cost(l, groups)); copies > 1.03 {
		t.Errorf("%.3f copies over the uplink", copies)
	}
	if took > 2*clean {
		t.Errorf("took %s; without forgers %s", took, clean)
	}
}

// TestPatchOfANeighbour holds what is asked for when a neighbour says that it has a patch.
func TestPatchOfANeighbour(t *testing.T) {
	groups := [][]int{{0, 1, 2, 3, 4, 5}}
	all := swarm.NewSet(8)
	for c := range 8 {
		all.Add(c)
	}
	have := swarm.PeerSeen{Peer: "b", Have: all, Pack: swarm.PackOf(8, groups), Patches: swarm.NewSet(1)}
	have.Patches.Add(0)
	begin := func(have swarm.PeerSeen, at ...int) (*swarm.Swarm, func(any) []any) {
		now := time.Unix(0, 0)
		s := swarm.New(swarm.Options{Self: "a", Chunks: 8, Groups: groups, Have: at, HoldOff: time.Second, Stall: time.Second})
		step := func(event any) (asked []any) {
			for _, effect := range s.Step(event, now) {
				switch effect.(type) {
				case swarm.FromPeer, swarm.PatchFromPeer, swarm.FromOrigin, swarm.Drop:
					asked = append(asked, effect)
				}
			}
			return asked
		}
		step(have)
		return s, step
	}
	chunk := func(c int) any { return swarm.FromPeer{Peer: "b", Chunk: c} }
	same := func(t *testing.T, got []any, want ...any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	whole := swarm.PatchFromPeer{Peer: "b", Chunks: groups[0]}

	t.Run("most of a group", func(t *testing.T) {
		_, step := begin(have, 1, 6, 7)
		same(t, step(swarm.Began{}), swarm.PatchFromPeer{Peer: "b", Chunks: []int{0, 2, 3, 4, 5}})
	})
	t.Run("little of a group", func(t *testing.T) {
		_, step := begin(have, 0, 1, 2, 6, 7)
		same(t, step(swarm.Began{}), chunk(3), chunk(4))
	})
	t.Run("another pack", func(t *testing.T) {
		other := have
		other.Pack = swarm.PackOf(8, [][]int{{0, 1, 2}})
		_, step := begin(other)
		same(t, step(swarm.Began{}), chunk(0), chunk(1))
	})
	t.Run("a damaged base", func(t *testing.T) {
		_, step := begin(have)
		same(t, step(swarm.Began{}), whole)
		same(t, step(swarm.Got{Chunk: 0}))
		for c := 1; c < 5; c++ {
			step(swarm.Lost{Chunk: c, From: "b", Patch: true, Wrong: true})
		}
		same(t, step(swarm.Lost{Chunk: 5, From: "b", Patch: true, Wrong: true}), chunk(1), chunk(2))
		same(t, step(have)) // whatever it says again
	})
	t.Run("not kept any more", func(t *testing.T) {
		_, step := begin(have)
		step(swarm.Began{})
		var asked []any
		for _, c := range groups[0] {
			asked = append(asked, step(swarm.Lost{Chunk: c, From: "b", Patch: true, Absent: true})...)
		}
		same(t, asked, chunk(0), chunk(1))
	})
}
