package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

// drawn is what a table looks like, with single spaces.
func drawn(table func(io.Writer)) string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	table(w)
	_ = w.Flush() // into memory
	var lines []string
	for line := range strings.Lines(b.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func holds(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text+"\n", line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
}

func TestSiteTable(t *testing.T) {
	served, wifi, neighbors, version := int64(7_000_000), client.Wifi, 19, "1.1.0"
	last := time.Now().Add(-time.Minute)
	offline := "It is offline."
	d := client.SiteDetail{
		Site: client.Site{
			Id: "oslo", Name: "Oslo", Devices: 20, Online: 19, Sharing: 18, Isolated: 1, Measured: 20,
			Bytes: client.Bytes{Origin: 12_400_000, Peers: 231_000_000}, Alone: 243_400_000, Saved: 231_000_000,
			Updates: []client.SiteUpdate{{
				Product: "gw", Version: "1.1.0", Devices: 20, Moving: 3, Committed: 17, Bytes: client.Bytes{Origin: 12_400_000}, Alone: 243_400_000,
			}},
		},
		Accusations: []client.Accusation{
			{Neighbor: "d-7", Kind: "wrong-bytes", By: []string{"a", "b", "c", "d", "e", "f", "g"}, Count: 12, Last: last},
			{Neighbor: "10.0.0.9", Kind: "flood", By: []string{"a"}, Count: 900, Last: last},
		},
		Devices: []client.SiteDevice{
			{Id: "a", Online: true, Sharing: true, Link: &wifi, Neighbors: &neighbors, Version: &version, Phase: "committed", Bytes: &client.Bytes{
				Origin: 600_000, Peers: 12_000_000, Reused: 40_000_000, Served: &served,
			}},
			{Id: "b", Phase: "idle", IsolatedFrom: &[]string{"a", "c"}, Apart: &offline},
		},
	}
	holds(t, drawn(func(w io.Writer) { siteDetail(w, d) }),
		"devices 20, 19 online, 18 sharing, 1 isolated",
		"bytes 12.4 MB from the server for 20 devices, 231.0 MB from neighbours; each alone would have fetched 243.4 MB together (19.6 times less)",
		"update gw 1.1.0: 20 devices, 17 committed, 3 under way; 12.4 MB from the server, 0 B from neighbours (19.6 times less)",
		"accusation d-7 gave wrong bytes, which were thrown away, 12 times, last "+when(last)+"; so say a, b, c, d, e and 2 more",
		"accusation 10.0.0.9 sent more announcements than can be read, 900 times, last "+when(last)+"; so says a alone",
		"a 1.1.0 committed yes yes wifi 19 600.0 kB 12.0 MB 40.0 MB 7000.0 kB - -",
		"b - idle no no - 0 0 B 0 B 0 B 0 B a,c It is offline.",
	)
	d.Site.Measured = 0
	holds(t, drawn(func(w io.Writer) { siteDetail(w, d) }), "bytes none measured yet")
	for n, want := range map[int64]string{5: "5 B", -5: "-5 B"} {
		if got := saved(n, 1); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	if got := saved(0, 0); got != "-" {
		t.Error(got)
	}
}

func TestDeviceTable(t *testing.T) {
	site, wired, apart := "oslo", client.Wired, "It is offline."
	last := time.Now().Add(-time.Hour)
	a := &app{output: "table"}
	var b bytes.Buffer
	a.out = &b
	err := a.printDevice(client.Device{
		Id: "a", Site: &site, Link: &wired, Apart: &apart, IsolatedFrom: &[]string{"b"},
		Offences: &[]client.Offence{{Neighbor: "c", Kind: "no-deeds", Count: 3, Last: last}, {Neighbor: "d", Kind: "drips", Count: 1, Last: last}},
		Update:   &client.Update{Product: "gw", Version: "1.1.0", Phase: "committed", Bytes: client.Bytes{Origin: 1, Peers: 2, Reused: 3}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, drawn(func(w io.Writer) { _, _ = w.Write(b.Bytes()) }),
		"site oslo", "link wired", "isolated from b, whose bytes came from the server", "apart It is offline.",
		"accusation it says that c said that it had chunks and did not give them, 3 times, last "+when(last),
		"accusation it says that d drips, 1 times, last "+when(last),
		"bytes 3 B reused, 2 B from neighbours, 1 B from the server; 0 B given to neighbours",
	)
}
