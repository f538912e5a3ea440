package api

import (
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/site"
)

func TestAdvice(t *testing.T) {
	own, peer := protocol.Source{Why: "own-share", Chunks: 50, Bytes: 1}, protocol.Source{Device: "a", Chunks: 41, Bytes: 900}
	alone := protocol.Source{Why: "alone", Chunks: 9}
	for _, c := range []struct {
		name              string
		sources           []protocol.Source
		neighbors, others int
		offline, apart    bool
		device, site      string // of the advice; empty: none
	}{
		{name: "nothing is told"},
		{name: "all well", sources: []protocol.Source{own, peer}, neighbors: 1, others: 3},
		{name: "late now and then", sources: []protocol.Source{own, peer, {Why: "stepped-in", Chunks: 4}, {Why: "did-not-come", Chunks: 5}}, others: 3},
		{
			name: "late in numbers", sources: []protocol.Source{own, peer, {Why: "stepped-in", Chunks: 5}, {Why: "did-not-come", Chunks: 9}}, others: 3,
			device: "13 % of the chunks", site: "13 % of the chunks",
		},
		{name: "late by sums that no update has", sources: []protocol.Source{{Why: "stepped-in", Chunks: 1<<63 - 1}, {Why: "did-not-come", Chunks: 1<<63 - 1}}, device: "100 %", site: "100 %"},
		{name: "alone at its site", sources: []protocol.Source{alone}},
		{name: "alone, as it was the first", sources: []protocol.Source{alone}, neighbors: 4, others: 4},
		{name: "alone, and offline", sources: []protocol.Source{alone}, others: 4, offline: true},
		{name: "alone, as it was told to be", sources: []protocol.Source{alone}, others: 4, apart: true},
		{name: "alone among one", sources: []protocol.Source{alone}, others: 1, device: "1 other device of its site is online", site: "d-1 sees no neighbours"},
		{name: "alone among others", sources: []protocol.Source{alone}, others: 4, device: "4 other devices of its site are online", site: "waxwing-agent doctor on it"},
	} {
		var v fleet.View
		v.ID, v.Presence.Online = "d-1", !c.offline
		v.State.Report = protocol.Report{
			Neighbors: c.neighbors, Mesh: &protocol.Mesh{Share: !c.apart},
			Update: &protocol.Update{Product: "gw", Version: "2", Bytes: protocol.Bytes{Origin: 1, Peers: 1}, Sources: c.sources},
		}
		check := func(of string, got []string, want string) {
			if text := strings.Join(got, " "); len(got) > 1 || want == "" && text != "" || !strings.Contains(text, want) {
				t.Errorf("%s: %s: %q, want %q", c.name, of, text, want)
			}
		}
		check("device", deviceAdvice(&v, c.others), c.device)
		all := []fleet.View{v}
		x := site.ExchangeOf(all, "gw", "2")
		check("site", siteAdvice(&x, all, c.others+1), c.site)
	}

	var many []fleet.View
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		var v fleet.View
		v.ID, v.Presence.Online = id, true
		v.State.Report = protocol.Report{Mesh: &protocol.Mesh{Share: true}, Update: &protocol.Update{Sources: []protocol.Source{alone}}}
		many = append(many, v)
	}
	if got := siteAdvice(&site.Exchange{}, many, 5); len(got) != 1 || !strings.HasPrefix(got[0], "a, b, c and 2 more see no neighbours") {
		t.Error(got)
	}
	if got := deviceAdvice(&fleet.View{}, 5); got != nil {
		t.Error(got)
	}
}

func TestExchanged(t *testing.T) {
	moving, passed := site.Update{Version: "moving", Moving: 1}, site.Update{Version: "passed", Bytes: protocol.Bytes{Peers: 1}}
	canary := site.Update{Version: "canary", Bytes: protocol.Bytes{Origin: 9}}
	for want, all := range map[string][]site.Update{
		"moving": {moving, passed}, "passed": {canary, passed, canary}, "canary": {canary, {Version: "older"}},
	} {
		if _, got := exchanged(all); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
