package main

import (
	"io"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

func text(s string) *string { return &s }

func TestUpdateSources(t *testing.T) {
	u := &client.Update{
		Bytes: client.Bytes{Origin: 2_000_000, Peers: 9_400_000},
		Sources: &client.Sources{
			{Why: text("own-share"), Chunks: 30, Bytes: 1_500_000},
			{Why: text("stepped-in"), Chunks: 1, Bytes: 100_000},
			{Why: text("moon"), Chunks: 2, Bytes: 200_000},
			{Device: text("d-7"), Chunks: 90, Bytes: 9_000_000},
			{Why: text("others"), Chunks: 4, Bytes: 400_000},
		},
		Advice: &[]string{"Look at the links."},
	}
	show := func() string { return drawn(func(w io.Writer) { updateSources(w, u) }) }
	holds(t, show(),
		"source 1500.0 kB from the server, 30 chunks: its part of what the site fetches",
		"source 100.0 kB from the server, 1 chunk: the device whose part it was stood still",
		"source 200.0 kB from the server, 2 chunks: moon",
		"source 9000.0 kB from d-7, 90 chunks",
		"source 400.0 kB from other neighbours, 4 chunks",
		"source 200.0 kB from the server: indexes and metadata",
		"advice Look at the links.",
	)
	u.Sources = nil
	holds(t, show(), "source it does not say who gave what; its agent is older, or nothing came yet")
	if u.Bytes = (client.Bytes{Reused: 5}); show() != "" {
		t.Error(show())
	}
}

func TestSiteExchange(t *testing.T) {
	d := client.SiteDetail{Site: client.Site{Id: "oslo"}, Exchange: &client.SiteExchange{
		Product: "gw", Version: "1.1.0", Devices: 20, Silent: 2, Chunks: 9, Advice: []string{"Look there."},
		Takers: []client.SiteTaker{
			{Device: text("a"), Devices: 1},
			{Device: text("b"), Devices: 1},
			{Device: text("c"), Devices: 1},
			{Device: text("d"), Devices: 1},
			{Device: text("e"), Devices: 1},
			{Devices: 15},
		},
		Givers: []client.SiteGiver{
			{Kind: client.GaveServer, Gave: []int64{10, 20, 30, 40, 50, 60}, Bytes: 210},
			{Kind: client.GaveDevice, Device: text("a"), Gave: []int64{0, 7, 9, 0, 0, 0}, Bytes: 16},
			{Kind: client.GaveOthers, Gave: []int64{0, 0, 0, 0, 0, 5}, Bytes: 5},
			{Kind: client.GaveUnnamed, Gave: []int64{3, 0, 0, 0, 0, 0}, Bytes: 3},
		},
		Reasons: []client.Source{{Why: text("alone"), Chunks: 3, Bytes: 70}},
	}}
	show := drawn(func(w io.Writer) { siteDetail(w, d) })
	holds(t, show,
		"server asked 70 B, 3 chunks: no neighbours were in sight",
		"not told by 2 of 20 devices, whose agents are older",
		"advice Look there.",
		"GIVER GAVE TO, OF GW 1.1.0",
		"(server) 210 B 15 others 60 B, e 50 B, d 40 B, c 30 B and 2 more 30 B",
		"a 16 B c 9 B, b 7 B",
		"(other devices) 5 B 15 others 5 B",
		"(not told) 3 B a 3 B",
	)
	d.Exchange = nil
	if show := drawn(func(w io.Writer) { siteDetail(w, d) }); strings.Contains(show, "GIVER") {
		t.Error(show)
	}
	for _, code := range []string{"alone", "own-share", "stepped-in", "did-not-come", "probe"} {
		if reason(code) == code {
			t.Errorf("%s has no words", code)
		}
	}
}
