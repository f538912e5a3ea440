package api_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/api"
)

func TestSites(t *testing.T) {
	p := newPlane(t)
	report := func(d *device, mesh *protocol.Mesh, isolated []string, peers, origin int64) {
		t.Helper()
		d.seq++
		b, err := json.Marshal(protocol.Report{
			Schema: 1, Device: d.id, Seq: d.seq, Time: time.Now(), Running: protocol.Running{Slot: "a", Product: "edge-gw", Version: "1.0.0"},
			Neighbors: 1, Mesh: mesh, Isolated: isolated,
			Update: &protocol.Update{Product: "edge-gw", Version: "1.1.0", Phase: protocol.Downloading, Bytes: protocol.Bytes{Peers: peers, Origin: origin}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.client.Report(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	secret := []string{"10.99.88.77:4100"}
	report(p.enrol("d-1", "qemu-arm64", map[string]any{}), &protocol.Mesh{Share: true, Addresses: secret, Link: protocol.LinkWifi}, nil, 100, 10)
	report(p.enrol("d-2", "qemu-arm64", map[string]any{}), &protocol.Mesh{Share: true}, []string{"d-1"}, 0, 20)
	report(p.enrol("d-3", "qemu-arm64", map[string]any{"labels": map[string]string{"site": "oslo"}}), nil, nil, 0, 5)
	report(p.enrol("d-4", "qemu-arm64", map[string]any{}), &protocol.Mesh{Site: "oslo"}, nil, 0, 0)

	var list api.SiteList
	p.want(200, "GET", "/sites", nil).into(t, &list)
	var short []any
	for _, s := range list.Items {
		short = append(short, s.Id, s.Name, s.Devices, s.Online, s.Sharing, s.Isolated, s.Bytes.Origin, s.Bytes.Peers)
	}
	want := []any{
		"at-127.0.0.1", "127.0.0.1", 2, 0, 0, 1, int64(30), int64(100),
		"oslo", "oslo", 2, 0, 0, 0, int64(5), int64(0),
	}
	if d := cmp.Diff(want, short); d != "" || list.Total != 2 || list.NextPageToken != nil {
		t.Error(d)
	}
	p.want(200, "GET", "/sites?page_size=1", nil).into(t, &list)
	p.want(200, "GET", "/sites?page_size=1&page_token="+*list.NextPageToken, nil).into(t, &list)
	if len(list.Items) != 1 || list.Items[0].Id != "oslo" {
		t.Errorf("%+v", list)
	}

	var site api.SiteDetail
	a := p.want(200, "GET", "/sites/at-127.0.0.1", nil)
	a.into(t, &site)
	if len(site.Devices) != 2 || *site.Devices[0].Link != api.Wifi || (*site.Devices[1].IsolatedFrom)[0] != "d-1" ||
		site.Devices[1].Bytes.Origin != 20 || site.Devices[0].Phase != "downloading" || !site.Devices[0].Sharing || *site.Devices[0].Neighbors != 1 {
		t.Errorf("%s", a.body)
	}
	p.problem(p.send(p.request("GET", "/sites/nowhere", nil)), 404, "not-found", "waxwing site list")

	var d api.Device
	a = p.want(200, "GET", "/devices/d-2", nil)
	a.into(t, &d)
	if d.Site == nil || *d.Site != "at-127.0.0.1" || (*d.IsolatedFrom)[0] != "d-1" || d.Link != nil {
		t.Errorf("%s", a.body)
	}
	// Where a device listens is told to its neighbours alone.
	for _, path := range []string{"/devices/d-1", "/sites/at-127.0.0.1", "/devices", "/sites"} {
		if a := p.want(200, "GET", path, nil); bytes.Contains(a.body, []byte(secret[0])) {
			t.Errorf("%s tells where d-1 listens: %s", path, a.body)
		}
	}
}
