package api_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/api"
)

// TestSources follows who gave what to whom from reports to the device and its site.
func TestSources(t *testing.T) {
	p := newPlane(t)
	report := func(id string, peers, origin int64, from ...protocol.Source) {
		t.Helper()
		p.enrol(id, "qemu-arm64", map[string]any{"labels": map[string]string{"site": "oslo"}}).reports(protocol.Report{
			Running: protocol.Running{Slot: "a", Product: "gw", Version: "1"},
			Mesh:    &protocol.Mesh{Share: true}, Update: &protocol.Update{
				Product: "gw", Version: "2", Phase: protocol.Downloading, Bytes: protocol.Bytes{Peers: peers, Origin: origin}, Sources: from,
			},
		})
	}
	report("d-1", 0, 20, protocol.Source{Why: "own-share", Chunks: 2, Bytes: 15})
	report("d-2", 70, 30, protocol.Source{Why: "stepped-in", Chunks: 3, Bytes: 9}, protocol.Source{Device: "d-1", Chunks: 5, Bytes: 60}, protocol.Source{Why: "others", Chunks: 1, Bytes: 10})
	report("d-3", 5, 1)

	own, stepped, first, others := "own-share", "stepped-in", "d-1", "others"
	told := &api.Sources{{Why: &stepped, Chunks: 3, Bytes: 9}, {Device: &first, Chunks: 5, Bytes: 60}, {Why: &others, Chunks: 1, Bytes: 10}}
	var d api.Device
	p.want(200, "GET", "/devices/d-2", nil).into(t, &d)
	if diff := cmp.Diff(told, d.Update.Sources); diff != "" || d.Update.Advice == nil {
		t.Errorf("%s %v", diff, d.Update.Advice)
	}
	var older api.Device
	p.want(200, "GET", "/devices/d-3", nil).into(t, &older)
	if older.Update.Sources != nil || older.Update.Advice != nil {
		t.Errorf("%+v", older.Update)
	}

	var site api.SiteDetail
	p.want(200, "GET", "/sites/oslo?page_size=2", nil).into(t, &site)
	if diff := cmp.Diff(told, site.Devices[1].Sources); diff != "" {
		t.Error(diff)
	}
	second, third := "d-2", "d-3"
	want := &api.SiteExchange{
		Product: "gw", Version: "2", Devices: 3, Silent: 1, Chunks: 11,
		Takers: []api.SiteTaker{{Device: &first, Devices: 1, Bytes: 20}, {Device: &second, Devices: 1, Bytes: 100}, {Device: &third, Devices: 1, Bytes: 6}},
		Givers: []api.SiteGiver{
			{Kind: api.GaveServer, Gave: []int64{20, 30, 1}, Bytes: 51},
			{Kind: api.GaveDevice, Device: &first, Gave: []int64{0, 60, 0}, Bytes: 60},
			{Kind: api.GaveUnnamed, Gave: []int64{0, 10, 5}, Bytes: 15},
		},
		Reasons: []api.Source{{Why: &own, Chunks: 2, Bytes: 15}, {Why: &stepped, Chunks: 3, Bytes: 9}},
		Advice:  site.Exchange.Advice,
	}
	if diff := cmp.Diff(want, site.Exchange); diff != "" || len(site.Exchange.Advice) != 1 {
		t.Errorf("%s %v", diff, site.Exchange.Advice)
	}
}
