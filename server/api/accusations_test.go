package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

func TestAccusations(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	says := func(id string, all ...protocol.Offence) fleet.View {
		return fleet.View{Device: fleet.Device{ID: id}, State: fleet.State{Report: protocol.Report{Offences: all}}}
	}
	got := accusations([]fleet.View{
		says("a", protocol.Offence{Neighbor: "x", Kind: protocol.OffenceWrongBytes, Count: 2, Last: at}),
		says("b",
			protocol.Offence{Neighbor: "x", Kind: protocol.OffenceWrongBytes, Count: 3, Last: at.Add(time.Minute)},
			protocol.Offence{Neighbor: "x", Kind: protocol.OffenceNoDeeds, Count: 1, Last: at}),
		says("c", protocol.Offence{Neighbor: "10.0.0.9", Kind: protocol.OffenceFlood, Count: 900, Last: at.Add(time.Hour)}),
		says("d"),
	})
	want := []Accusation{
		{Neighbor: "x", Kind: "wrong-bytes", By: []string{"a", "b"}, Count: 5, Last: at.Add(time.Minute)},
		{Neighbor: "10.0.0.9", Kind: "flood", By: []string{"c"}, Count: 900, Last: at.Add(time.Hour)},
		{Neighbor: "x", Kind: "no-deeds", By: []string{"b"}, Count: 1, Last: at},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := accusations(nil); got == nil || len(got) != 0 {
		t.Error("nothing is an empty list")
	}
	var liar []protocol.Offence
	for i := range 300 {
		liar = append(liar, protocol.Offence{Neighbor: fmt.Sprint("x", i), Kind: protocol.OffenceFlood, Count: 1, Last: at})
	}
	if got := accusations([]fleet.View{says("liar", liar...)}); len(got) != maxAccusations {
		t.Errorf("%d", len(got))
	}
}
