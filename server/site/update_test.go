package site

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

func TestAlone(t *testing.T) {
	// Of a hundred thousand plain bytes compression leaves half.
	half := Release{Whole: 50_000, Plain: 100_000}
	patched := Release{Whole: 50_000, Plain: 100_000, Patches: map[string]int64{"1": 1000, "0": 3000}}
	for _, c := range []struct {
		name          string
		release       Release
		base          string
		sure          bool
		origin, peers int64
		want          int64
	}{
		{name: "chunks of neighbours are plain", release: half, sure: true, origin: 1000, peers: 20_000, want: 11_000},
		{name: "no more than the whole", release: half, sure: true, origin: 1000, peers: 200_000, want: 50_000 + metadata},
		{name: "nobody gives more than plain", release: Release{Whole: 9, Plain: 1}, sure: true, origin: 2, peers: 3, want: 5},
		{name: "no more than the patches", release: patched, base: "1", sure: true, origin: 1000, peers: 90_000, want: 1000 + metadata},
		{name: "those from its own base", release: patched, base: "0", sure: true, origin: 1000, peers: 90_000, want: 3000 + metadata},
		{name: "no patches from its base", release: patched, base: "9", sure: true, origin: 1000, peers: 90_000, want: 46_000},
		{name: "none to what it came with", release: patched, sure: true, origin: 1000, peers: 90_000, want: 46_000},
		{name: "on its way", release: patched, base: "1", sure: true, origin: 500, peers: 200, want: 600},
		{name: "wasted bytes are not what it needed", release: patched, base: "1", sure: true, origin: 40_000, want: 1000 + metadata},
		{name: "an unknown base: the smallest patches", release: patched, origin: 1000, peers: 90_000, want: 1000 + metadata},
		{name: "an unknown base, and it took more itself", release: patched, origin: 40_000, peers: 90_000, want: 40_000},
		{name: "an unknown release: what it took itself", sure: true, origin: 1000, peers: 90_000, want: 1000},
		{name: "nothing moved", release: patched, base: "1", sure: true},
	} {
		if got := c.release.alone(protocol.Bytes{Origin: c.origin, Peers: c.peers, Reused: 7}, c.base, c.sure); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// Neighbours never save more than all copies but one, whatever is taken from whom.
func TestAloneIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(0, 1<<40)
		r := Release{Whole: amount.Draw(t, "whole"), Plain: amount.Draw(t, "plain"), Patches: map[string]int64{"1": amount.Draw(t, "patches")}}
		b := protocol.Bytes{Origin: amount.Draw(t, "origin"), Peers: amount.Draw(t, "peers")}
		base, sure := rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "base"), rapid.Bool().Draw(t, "sure")
		got := r.alone(b, base, sure)
		if got < 0 || got > b.Origin+b.Peers || got > max(r.Whole+metadata, b.Origin) {
			t.Fatalf("%d for %+v of %+v", got, b, r)
		}
		if patches := r.Patches["1"]; sure && base == "1" && r.Whole > 0 && r.Plain > 0 && got > patches+metadata {
			t.Fatalf("%d for patches of %d", got, patches)
		}
	})
}

// shelf is releases by version.
type shelf map[string]Release

func (s shelf) Release(_, version string) (Release, bool) {
	r, ok := s[version]
	return r, ok
}

// updating is a device on its way from one version to another.
func updating(target, runs string, phase protocol.Phase, origin, peers int64) func(*fleet.View) {
	return func(v *fleet.View) {
		v.State.Report.Running = protocol.Running{Product: "gw", Version: runs}
		v.State.Report.Update = &protocol.Update{
			Product: "gw", Version: target, Phase: phase, Bytes: protocol.Bytes{Origin: origin, Peers: peers, Total: 1000},
		}
	}
}

// seen returns the view of a device that town has.
func (w *town) seen(g *gathering, id string, of Releases, change func(*fleet.View)) {
	v := fleet.View{Device: fleet.Device{ID: id, Admission: fleet.Accepted}, Presence: fleet.Presence{Online: true}}
	change(&v)
	w.update(&v)
	m, _ := w.memberOf(&v)
	w.add(g, m, &v, of)
}

func TestUpdatesOfASite(t *testing.T) {
	const large = 1 << 20
	of := shelf{
		"1": {Made: time.Unix(1, 0), Whole: large, Plain: large},
		"2": {Made: time.Unix(2, 0), Whole: large, Plain: large, Patches: map[string]int64{"1": 40 - metadata, "0": 30 - metadata}},
		"3": {Made: time.Unix(3, 0), Whole: large, Plain: large},
	}
	w := newTown(t)
	first := &gathering{by: updates{}}
	w.seen(first, "a", of, updating("2", "1", protocol.Downloading, 20, 100))
	w.seen(first, "b", of, updating("2", "", protocol.Downloading, 20, 100)) // to what it came with there are no patches
	w.seen(first, "c", of, updating("2", "2", protocol.Committed, 20, 100))  // since before the server started
	w.seen(first, "d", of, updating("1", "1", protocol.Committed, 7, 0))
	w.seen(first, "e", of, updating("3", "1", protocol.Reverted, 9, 1))
	w.seen(first, "f", of, updating("3", "1", protocol.Checking, 0, 0))
	w.seen(first, "g", of, func(*fleet.View) {})
	v := first.end(of)
	want := []Update{
		{Product: "gw", Version: "2", Devices: 3, Moving: 2, Committed: 1, Bytes: protocol.Bytes{Origin: 60, Peers: 300, Total: 3000}, Alone: 40 + 120 + 30},
		{Product: "gw", Version: "3", Devices: 1, Bytes: protocol.Bytes{Origin: 9, Peers: 1, Total: 1000}, Alone: 10},
		{Product: "gw", Version: "1", Devices: 1, Committed: 1, Bytes: protocol.Bytes{Origin: 7, Total: 1000}, Alone: 7},
	}
	if d := cmp.Diff(want, v.Updates); d != "" {
		t.Error(d)
	}
	if v.Devices != 7 || v.Measured != 5 || v.Alone != 190+10+7 || v.Bytes.Origin != 76 || v.Crowded {
		t.Errorf("%+v", v)
	}
	// A base that was seen is remembered when the device runs the target, and not taken for that of another update.
	later := &gathering{by: updates{}}
	w.seen(later, "a", of, updating("2", "2", protocol.Committed, 20, 100))
	w.seen(later, "e", of, updating("2", "2", protocol.Committed, 20, 100))
	if v := later.end(of); v.Alone != 40+30 {
		t.Errorf("%+v", v)
	}
}
