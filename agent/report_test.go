package agent

import (
	"testing"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// TestQuietReports: what says nothing new is not sent, but for what somebody waits for.
func TestQuietReports(t *testing.T) {
	r := newReporter(nil)
	report := func(phase protocol.Phase, served int64) protocol.Report {
		return protocol.Report{
			Device: "d-1", Mesh: &protocol.Mesh{Addresses: []string{"10.0.0.1:1"}},
			Update: &protocol.Update{Phase: phase, Bytes: protocol.Bytes{Served: served}, Millis: map[protocol.Phase]int64{phase: 7}},
		}
	}
	for i, c := range []struct {
		report protocol.Report
		urgent bool
		want   uint64 // how often there was something to tell
	}{
		{report(protocol.Committed, 0), false, 1},
		{report(protocol.Committed, 0), false, 1},
		{report(protocol.Committed, 5), false, 2},
		{report(protocol.Committed, 5), true, 3},
		{report(protocol.Committed, 5), false, 3},
		{report(protocol.Checking, 5), false, 4},
	} {
		if r.note(c.report, c.urgent); r.noted != c.want {
			t.Errorf("%d: told %d times, want %d", i, r.noted, c.want)
		}
	}
	if r.again(); r.noted != 5 {
		t.Error("it is not sent again when the ways have changed")
	}
}
