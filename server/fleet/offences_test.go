package fleet_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// TestOffences: what a device says of another is in its own state, durably, is said once in the log, and changes nothing for
// the other.
func TestOffences(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.enroll("d-1", nil)
	w.enroll("d-2", nil)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	liar := protocol.Offence{Neighbor: "d-2", Kind: protocol.OffenceWrongBytes, Count: 1, Last: at}
	flood := protocol.Offence{Neighbor: "10.0.0.9", Kind: protocol.OffenceFlood, Count: 3, Last: at}
	again := liar
	again.Count = 2
	for i, c := range []struct {
		says []protocol.Offence
		log  int // lines in all
	}{
		{nil, 0},
		{[]protocol.Offence{liar}, 1},
		{[]protocol.Offence{again}, 1},
		{[]protocol.Offence{flood, again}, 2},
		{nil, 2},
		{[]protocol.Offence{liar}, 3},
	} {
		b, err := json.Marshal(protocol.Report{Schema: 1, Device: "d-1", Seq: uint64(i + 1), Time: at, Offences: c.says})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Ingest(ctx, "d-1", b, "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		v, err := w.View(ctx, "d-1")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.says, v.State.Report.Offences); d != "" {
			t.Error(d)
		}
		if got := w.logged("a device accuses neighbours"); got != c.log {
			t.Errorf("after report %d: %d lines, want %d", i+1, got, c.log)
		}
	}
	v, err := w.View(ctx, "d-2")
	if err != nil || v.Admission != fleet.Accepted {
		t.Errorf("%+v, %v", v, err)
	}
}
