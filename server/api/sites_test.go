package api_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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
		d.reports(protocol.Report{
			Running: protocol.Running{Slot: "a", Product: "edge-gw", Version: "1.0.0"}, Neighbors: 1, Mesh: mesh, Isolated: isolated,
			Update: &protocol.Update{Product: "edge-gw", Version: "1.1.0", Phase: protocol.Downloading, Bytes: protocol.Bytes{Peers: peers, Origin: origin}},
		})
	}
	image := make([]byte, 200_000) // that does not compress
	if _, err := rand.Read(image); err != nil {
		t.Fatal(err)
	}
	p.releaseOf("1.1.0", image)
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

	// Who takes no part is told why, and what it means for the uplink.
	for id, says := range map[string]string{"d-1": "offline", "d-2": "offline"} {
		i := slices.IndexFunc(site.Devices, func(d api.SiteDevice) bool { return d.Id == id })
		if apart := site.Devices[i].Apart; apart == nil || !strings.Contains(*apart, says) {
			t.Errorf("%s: %v", id, apart)
		}
	}
	if v := site.Site; v.Measured != 2 || v.Alone != 130 || v.Saved != 100 || len(v.Updates) != 1 || v.Updates[0].Moving != 2 ||
		v.Updates[0].Version != "1.1.0" || v.Updates[0].Saved != 100 || site.Most.Moved != 110 {
		t.Errorf("%s", a.body)
	}
	p.want(200, "GET", "/sites/oslo", nil).into(t, &site)
	for i, says := range []string{"mesh.off", "mesh.unlisted"} {
		if apart := site.Devices[i].Apart; apart == nil || !strings.Contains(*apart, says) {
			t.Errorf("%+v", site.Devices[i])
		}
	}
}

// Of a large site a part is asked for; its scale is the whole one's.
func TestPartsOfASite(t *testing.T) {
	p := newPlane(t)
	for i, peers := range []int64{5, 50, 500} {
		d := p.enrol(fmt.Sprintf("d-%d", i+1), "qemu-arm64", map[string]any{"labels": map[string]string{"site": "oslo"}})
		r := protocol.Report{
			Schema: 1, Device: d.id, Seq: 1, Time: time.Now(), Mesh: &protocol.Mesh{Share: true},
			Update: &protocol.Update{Product: "gw", Version: "2", Phase: protocol.Downloading, Bytes: protocol.Bytes{Peers: peers, Origin: 1000 - peers, Reused: 7}},
		}
		if i == 0 {
			r.Isolated, r.Update.Phase = []string{"d-2"}, protocol.Committed
			r.Offences = []protocol.Offence{{Neighbor: "d-3", Kind: protocol.OffenceNoDeeds, Count: 4, Last: r.Time}}
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.client.Report(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		"":                                   "d-1 d-2 d-3 of 3",
		"?order=peers":                       "d-3 d-2 d-1 of 3",
		"?order=origin":                      "d-1 d-2 d-3 of 3",
		"?order=served":                      "d-1 d-2 d-3 of 3",
		"?show=isolated":                     "d-1 of 1",
		"?show=accusing":                     "d-1 of 1",
		"?show=moving":                       "d-2 d-3 of 2",
		"?show=online":                       "of 0",
		"?show=sharing":                      "of 0",
		"?show=apart&search=-3":              "d-3 of 1",
		"?show=offline&page_size=2":          "d-1 d-2 of 3, more",
		"?page_size=1&order=peers":           "d-3 of 3, more",
		"?page_size=2&search=d-&order=peers": "d-3 d-2 of 3, more",
	} {
		var site api.SiteDetail
		p.want(200, "GET", "/sites/oslo"+query, nil).into(t, &site)
		got := ""
		for _, d := range site.Devices {
			got += d.Id + " "
		}
		if got += fmt.Sprintf("of %d", site.Total); site.NextPageToken != nil {
			got += ", more"
		}
		if got != want || site.Site.Devices != 3 || site.Most.Moved != 1000 || site.Most.All != 1007 ||
			site.Site.Accusing != 1 || len(site.Accusations) != 1 || site.Accusations[0].By[0] != "d-1" {
			t.Errorf("%s: %s, want %s; %+v", query, got, want, site.Most)
		}
	}
	var site api.SiteDetail
	p.want(200, "GET", "/sites/oslo?page_size=2&order=peers", nil).into(t, &site)
	p.want(200, "GET", "/sites/oslo?page_size=2&order=peers&page_token="+*site.NextPageToken, nil).into(t, &site)
	if len(site.Devices) != 1 || site.Devices[0].Id != "d-1" {
		t.Errorf("%+v", site.Devices)
	}
	for _, bad := range []string{"?show=everybody", "?order=height", "?page_size=0"} {
		p.problem(p.send(p.request("GET", "/sites/oslo"+bad, nil)), 400, "invalid", "")
	}
}
