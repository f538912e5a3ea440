package site

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

func TestAlone(t *testing.T) {
	for _, c := range []struct {
		name          string
		origin, peers int64
		patches       int64
		patched, sure bool
		want          int64
	}{
		{name: "no patches: what it took, wherever from", origin: 10, peers: 90, want: 100, sure: true},
		{name: "patches: plain chunks of neighbours are no measure", origin: 10, peers: 900, patches: 40, patched: true, sure: true, want: 40},
		{name: "patches, on its way", origin: 10, peers: 5, patches: 40, patched: true, sure: true, want: 15},
		{name: "wasted bytes are not what it needed", origin: 60, patches: 40, patched: true, sure: true, want: 40},
		{name: "an unknown base: the smallest patches", origin: 10, peers: 900, patches: 40, patched: true, want: 40},
		{name: "an unknown base, and it took more itself", origin: 60, peers: 900, patches: 40, patched: true, want: 60},
		{name: "nothing moved", patches: 40, patched: true, sure: true},
	} {
		if got := alone(protocol.Bytes{Origin: c.origin, Peers: c.peers, Reused: 1000}, c.patches, c.patched, c.sure); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// shelf is releases whose patches are given by "target from base".
type shelf map[string]int64

func (s shelf) Patches(_, version, base string) (int64, bool) {
	n, ok := s[version+" from "+base]
	return n, ok
}

func (s shelf) Made(_, version string) time.Time { return time.Unix(s["made "+version], 0) }

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
	of := shelf{"2 from 1": 40 - metadata, "2 from ": 30 - metadata, "made 1": 1, "made 2": 2, "made 3": 3}
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
