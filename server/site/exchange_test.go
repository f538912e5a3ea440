package site

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// took is a device with an update to gw 2.
func took(id string, origin, peers int64, from ...protocol.Source) fleet.View {
	var v fleet.View
	v.ID = id
	v.State.Report.Update = &protocol.Update{
		Product: "gw", Version: "2", Bytes: protocol.Bytes{Origin: origin, Peers: peers}, Sources: from,
	}
	return v
}

// drawn shows an exchange as lines: a giver, and what it gave to each taker.
func (x Exchange) drawn() string {
	var b strings.Builder
	for _, t := range x.Takers {
		fmt.Fprintf(&b, " %s×%d=%d", t.Device, t.Devices, t.Bytes)
	}
	for _, g := range x.Givers {
		fmt.Fprintf(&b, "\n%s %s: %v = %d", g.Kind, g.Device, g.Gave, g.Bytes)
	}
	return strings.TrimSpace(b.String())
}

func TestExchange(t *testing.T) {
	other := took("z", 5, 5)
	other.State.Report.Update.Version = "1"
	x := ExchangeOf([]fleet.View{
		took("a", 30, 12, protocol.Source{Why: "own-share", Chunks: 3, Bytes: 20}, protocol.Source{Device: "b", Chunks: 1, Bytes: 10}, protocol.Source{Why: "others", Chunks: 1, Bytes: 2}),
		took("b", 10, 7, protocol.Source{Why: "own-share", Chunks: 1, Bytes: 4}, protocol.Source{Why: "alone", Chunks: 2, Bytes: 5}, protocol.Source{Device: "box", Chunks: 1, Bytes: 7}),
		took("c", 1, 9), // an older agent
		took("d", 2, 3, protocol.Source{Device: "d", Bytes: 3}),     // itself
		took("e", 0, 4, protocol.Source{Device: "a", Bytes: 1_000}), // more than all
		took("f", 0, 0),
		other,
		{},
	}, "gw", "2")
	want := strings.TrimSpace(`
a×1=42 b×1=17 c×1=10 d×1=5 e×1=4
server : [30 10 1 2 0] = 43
device a: [0 0 0 0 4] = 4
device b: [10 0 0 0 0] = 10
device box: [0 7 0 0 0] = 7
unnamed : [2 0 9 3 0] = 14`)
	if d := cmp.Diff(want, x.drawn()); d != "" {
		t.Error(d)
	}
	reasons := []protocol.Source{{Why: "own-share", Chunks: 4, Bytes: 24}, {Why: "alone", Chunks: 2, Bytes: 5}}
	if d := cmp.Diff(reasons, x.Reasons); d != "" || x.Devices != 5 || x.Silent != 1 || x.Chunks != 9 {
		t.Errorf("%s %+v", d, x)
	}
	if x := ExchangeOf(nil, "gw", "2"); x.Takers != nil || x.Givers != nil {
		t.Errorf("%+v", x)
	}
}

// Of many the twelve with most bytes are named, by id.
func TestExchangeOfMany(t *testing.T) {
	var all []fleet.View
	for i := range 20 {
		all = append(all, took(fmt.Sprintf("d-%02d", i), 1, int64(100+i), protocol.Source{Device: fmt.Sprintf("d-%02d", (i+1)%20), Bytes: int64(100 + i)}))
	}
	x := ExchangeOf(all, "gw", "2")
	// d-00 gave 119 and took 100; the next largest are d-09 to d-19.
	if len(x.Takers) != 13 || x.Takers[0].Device != "d-00" || x.Takers[1].Device != "d-09" || x.Takers[12].Devices != 8 {
		t.Errorf("%+v", x.Takers)
	}
	last := x.Givers[len(x.Givers)-1]
	if len(x.Givers) != 14 || last.Kind != ByOthers || last.Gave[0] != 100 || last.Gave[12] != 101+102+103+104+105+106+107 {
		t.Errorf("%s", x.drawn())
	}
}

// Whatever devices say, rows and columns add up to what they had.
func TestExchangeAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint("d-", rapid.IntRange(0, 30).Draw(t, "n")) })
		amount := rapid.OneOf(rapid.Int64Range(0, 1000), rapid.Int64())
		source := rapid.Custom(func(t *rapid.T) protocol.Source {
			s := protocol.Source{Chunks: amount.Draw(t, "chunks"), Bytes: amount.Draw(t, "bytes")}
			if rapid.Bool().Draw(t, "neighbour") {
				s.Device = id.Draw(t, "from")
			} else {
				s.Why = rapid.StringN(0, 3, 3).Draw(t, "why")
			}
			return s
		})
		var all []fleet.View
		var had int64
		for i := range rapid.IntRange(0, 25).Draw(t, "devices") {
			v := took(fmt.Sprint("d-", i), amount.Draw(t, "origin"), amount.Draw(t, "peers"), rapid.SliceOfN(source, 0, 5).Draw(t, "sources")...)
			if all = append(all, v); Measured(&v) {
				had += believed(v.State.Report.Update.Bytes.Origin) + believed(v.State.Report.Update.Bytes.Peers)
			}
		}
		x := ExchangeOf(all, "gw", "2")
		var columns, rows int64
		for i, taker := range x.Takers {
			var sum int64
			for _, g := range x.Givers {
				if g.Gave[i] < 0 {
					t.Fatalf("%s", x.drawn())
				}
				sum += g.Gave[i]
			}
			if sum != taker.Bytes {
				t.Fatalf("a column is %d, not %d", sum, taker.Bytes)
			}
			columns += sum
		}
		for _, g := range x.Givers {
			rows += g.Bytes
		}
		if columns != had || rows != had || len(x.Takers) > maxParties+1 || len(x.Givers) > maxParties+3 || len(x.Reasons) > maxReasons {
			t.Fatalf("%d %d, want %d:\n%s", columns, rows, had, x.drawn())
		}
	})
}
