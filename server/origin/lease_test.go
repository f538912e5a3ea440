package origin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet/fleettest"
	"github.com/waxwing-ota/waxwing/server/origin"
	"github.com/waxwing-ota/waxwing/server/site"
)

// nowhere publishes to nobody.
type nowhere struct{}

func (nowhere) Publish(context.Context, string, []byte) error { return nil }

// newSite returns a plane, and clients of devices of one site that are online and share.
func newSite(t *testing.T, devices ...string) (*plane, *site.Sites, map[string]*http.Client) {
	t.Helper()
	var sites *site.Sites
	p := newPlane(t, func(o *origin.Options) {
		sites = site.New(site.Options{Fleet: o.Fleet.(site.Fleet)})
		o.Sites = sites
	})
	fleettest.Run(t, func(ctx context.Context) error { return sites.Run(ctx, nowhere{}) })
	clients := map[string]*http.Client{}
	for i, id := range devices {
		clients[id] = p.client(p.Device(t, id, nil), i%2 == 0)
		report := fleettest.Report(t, id, 1, func(r *protocol.Report) {
			r.Mesh = &protocol.Mesh{Share: true, Addresses: []string{"127.0.0.1:4100" + string(rune('0'+i)), "8.8.8.8:53"}}
		})
		if r, b := p.do(clients[id], "POST", protocol.PathReports, report); r.StatusCode != http.StatusNoContent {
			t.Fatal(r.Status, string(b))
		}
		p.Presence(id, true)
	}
	fleettest.Eventually(t, "the site is known", func() bool {
		v := sites.Views(t.Context(), nil)
		return len(v) == 1 && v[0].Sharing == len(devices)
	})
	return p, sites, clients
}

func TestHintsByHTTPS(t *testing.T) {
	p, _, clients := newSite(t, "d-1", "d-2", "d-3")
	var s *protocol.Site
	fleettest.Eventually(t, "the documents hold a hint", func() bool {
		var d protocol.Documents
		_, b := p.do(clients["d-1"], "GET", protocol.PathPolicy, nil)
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		var err error
		if len(d.Site) > 0 {
			s, err = protocol.ParseSite(d.Site, "d-1")
		}
		return err == nil && s != nil && len(s.Peers) == 2
	})
	want := []protocol.Peer{{Device: "d-2", Addresses: []string{"127.0.0.1:41001"}}, {Device: "d-3", Addresses: []string{"127.0.0.1:41002"}}}
	if d := cmp.Diff(want, s.Peers); d != "" || s.Site != "at-127.0.0.1" {
		t.Error(s.Site, d)
	}
}

func TestLeases(t *testing.T) {
	p, _, clients := newSite(t, "d-1", "d-2", "d-3")
	chunk := "/repo/chunks/abcd/" + strings.Repeat("ab", 32) + ".cacnk"
	pack := "/repo/patches/p"
	meta := "/repo/metadata/timestamp.json"
	for _, path := range []string{chunk, pack, meta} {
		p.put(strings.TrimPrefix(path, "/"), strings.Repeat("0123456789", 5000))
	}
	get := func(device, path string, header ...string) (*http.Response, []byte) {
		t.Helper()
		return p.do(clients[device], "GET", path, nil, header...)
	}
	served := func(device, path string, header ...string) {
		t.Helper()
		if r, b := get(device, path, header...); r.StatusCode/100 != 2 {
			t.Fatalf("%s is refused %s: %s %s", device, path, r.Status, b)
		}
	}
	held := func(device, path, holder string, header ...string) {
		t.Helper()
		r, b := get(device, path, append(header, protocol.HeaderLease, "e")...)
		p.refused(device+" asks for "+path, r, b, http.StatusConflict, "another device of this site has it")
		if got := r.Header.Get(protocol.HeaderHolder); got != holder || !strings.Contains(string(b), `"/problems/held"`) {
			t.Errorf("held by %q: %s", got, b)
		}
		if r.Header.Get("Retry-After") == "" || r.Header.Get("Cache-Control") != "no-store" {
			t.Error(r.Header)
		}
	}
	const one = "d-1 127.0.0.1:41000"
	served("d-1", chunk, protocol.HeaderLease, "")
	held("d-2", chunk, one)
	served("d-1", chunk, protocol.HeaderLease, "")
	served("d-2", chunk) // an agent or a cache that knows nothing of this
	if r, _ := p.do(clients["d-2"], "HEAD", chunk, nil, protocol.HeaderLease, "e"); r.StatusCode != http.StatusOK {
		t.Error("HEAD:", r.Status)
	}
	served("d-1", pack, protocol.HeaderLease, "", "Range", "bytes=0-99")
	held("d-2", pack, one, "Range", "bytes=0-99")
	served("d-2", pack, protocol.HeaderLease, "", "Range", "bytes=100-199")
	held("d-1", pack, "d-2 127.0.0.1:41001", "Range", "bytes=100-199")
	served("d-2", pack, protocol.HeaderLease, "", "Range", "bytes=-5") // no agent asks so
	served("d-1", meta, protocol.HeaderLease, "")
	served("d-2", meta, protocol.HeaderLease, "")
	r, b := get("d-2", "/repo/chunks/abcd/"+strings.Repeat("cd", 32)+".cacnk", protocol.HeaderLease, "")
	p.refused("a missing chunk", r, b, http.StatusNotFound, "nothing here")

	// Who cannot reach the holder is served, and holds it from then on for those who reach it.
	served("d-2", chunk, protocol.HeaderLease, "", protocol.HeaderIsolated, "d-1")
	held("d-3", chunk, one)
	p.Presence("d-1", false)
	fleettest.Eventually(t, "what d-1 held is held by d-2 alone", func() bool {
		r, _ := get("d-3", chunk, protocol.HeaderLease, "")
		return r.Header.Get(protocol.HeaderHolder) == "d-2 127.0.0.1:41001"
	})
	p.Presence("d-2", false)
	fleettest.Eventually(t, "d-3 is alone and held up by nobody", func() bool {
		r, _ := get("d-3", chunk, protocol.HeaderLease, "")
		return r.StatusCode == http.StatusOK
	})
}
