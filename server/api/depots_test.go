package api_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/api"
)

// TestDepots shows what a depot keeps, and that others are none.
func TestDepots(t *testing.T) {
	p := newPlane(t)
	d := p.enrol("box", "depot", map[string]any{})
	shows := func(m *protocol.Mesh) *api.Depot {
		t.Helper()
		d.reports(protocol.Report{Mesh: m})
		var got api.Device
		p.want(200, "GET", "/devices/box", nil).into(t, &got)
		return got.Depot
	}
	trouble := "gw 2.0.0: the depot is full"
	for _, c := range []struct {
		says *protocol.Mesh
		want *api.Depot
	}{
		{nil, nil},
		{&protocol.Mesh{}, nil},
		{&protocol.Mesh{Depot: &protocol.Depot{Space: 9}}, &api.Depot{Releases: []api.KeptRelease{}, Space: 9}},
		{
			&protocol.Mesh{Depot: &protocol.Depot{Releases: []protocol.Kept{{Product: "gw", Version: "1.1.0"}}, Bytes: 7, Space: 9, Trouble: trouble}},
			&api.Depot{Releases: []api.KeptRelease{{Product: "gw", Version: "1.1.0"}}, Bytes: 7, Space: 9, Trouble: &trouble},
		},
	} {
		if diff := cmp.Diff(c.want, shows(c.says)); diff != "" {
			t.Error(diff)
		}
	}
}
