package api_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/api"
)

// TestOffences shows what a device says of its neighbours, and does nothing to those.
func TestOffences(t *testing.T) {
	p := newPlane(t)
	said, accused := p.enrol("d-1", "qemu-arm64", map[string]any{}), p.enrol("d-2", "qemu-arm64", map[string]any{})
	accused.says("1.0.0", [32]byte{1}, nil)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	says := func(all ...protocol.Offence) api.Device {
		t.Helper()
		said.reports(protocol.Report{Time: at, Running: protocol.Running{Slot: "a"}, Offences: all})
		var d api.Device
		p.want(200, "GET", "/devices/d-1", nil).into(t, &d)
		return d
	}
	got := says(
		protocol.Offence{Neighbor: "d-2", Kind: protocol.OffenceWrongBytes, Count: 2, Last: at},
		protocol.Offence{Neighbor: "10.0.0.9", Kind: protocol.OffenceFlood, Count: 7, Last: at},
	)
	want := &[]api.Offence{
		{Neighbor: "d-2", Kind: "wrong-bytes", Count: 2, Last: at},
		{Neighbor: "10.0.0.9", Kind: "flood", Count: 7, Last: at},
	}
	if d := cmp.Diff(want, got.Offences); d != "" {
		t.Error(d)
	}
	var other api.Device
	p.want(200, "GET", "/devices/d-2", nil).into(t, &other)
	if other.Admission != api.DeviceAdmissionAccepted || other.Offences != nil {
		t.Errorf("whoever is accused has done nothing yet that is proven: %+v", other)
	}
	accused.says("1.0.1", [32]byte{2}, nil) // and is heard as before
	if got := says(); got.Offences != nil {
		t.Errorf("what is forgotten is shown: %v", got.Offences)
	}
}
