package api_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/api"
)

// TestLimits shows the limits that hold a device back, for as long as it says so.
func TestLimits(t *testing.T) {
	p := newPlane(t)
	d := p.enrol("d-1", "qemu-arm64", map[string]any{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	says := func(all ...protocol.Limit) *[]api.Limit {
		t.Helper()
		d.reports(protocol.Report{Running: protocol.Running{Slot: "a"}, Limits: all})
		var got api.Device
		p.want(200, "GET", "/devices/d-1", nil).into(t, &got)
		return got.Limits
	}
	want := &[]api.Limit{{Of: "uplink", Why: "hour", Until: at, Detail: "it is used up"}}
	if diff := cmp.Diff(want, says(protocol.Limit{Of: protocol.LimitUplink, Why: "hour", Until: at, Detail: "it is used up"})); diff != "" {
		t.Error(diff)
	}
	if got := says(); got != nil {
		t.Errorf("a limit that has ended is shown: %v", got)
	}
}
