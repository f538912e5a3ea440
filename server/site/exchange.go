package site

import (
	"cmp"
	"slices"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// Bounds of an exchange.
const (
	maxParties = 12      // devices that are named in it
	maxReasons = 12      // why the server was asked
	maxTold    = 1 << 46 // bytes or chunks of one source that are believed, so that sums do not overflow
)

// GiverKind says who gave.
type GiverKind string

// The givers there are.
const (
	ByServer  GiverKind = "server"
	ByDevice  GiverKind = "device"
	ByOthers  GiverKind = "others"  // devices beyond those that are named
	ByUnnamed GiverKind = "unnamed" // neighbours that the takers do not tell of, such as those of older agents
)

// Exchange is who gave how much to whom for one release, in bytes on the wire as the takers say. The sums are those of
// what the takers had from server and neighbours.
type Exchange struct {
	Product, Version string
	Devices          int // that fetched some of it
	Silent           int // of these, that had bytes from neighbours and tell of none
	Takers           []Taker
	Givers           []Giver           // the server, devices by id, others, unnamed: those that gave something
	Reasons          []protocol.Source // why the server was asked, over all devices, the largest first
	Chunks           int64             // of all sources
}

// Taker is a column: a device, or several that are not named.
type Taker struct {
	Device  string // empty: several
	Devices int
	Bytes   int64
}

// Giver is a row. Gave has one number for each taker.
type Giver struct {
	Kind   GiverKind
	Device string
	Gave   []int64
	Bytes  int64
}

// ExchangeOf gathers who gave to whom for a release; devices are those of a site. Of more than twelve that took or gave the
// twelve with most bytes are named. It is pure.
func ExchangeOf(devices []fleet.View, product, version string) Exchange {
	x := Exchange{Product: product, Version: version}
	var took []*fleet.View
	moved := map[string]int64{} // between neighbours, by device
	for i := range devices {
		u := devices[i].State.Report.Update
		if !Measured(&devices[i]) || u.Product != product || u.Version != version {
			continue
		}
		took = append(took, &devices[i])
		x.count(u)
		moved[devices[i].ID] += believed(u.Bytes.Peers)
		for _, s := range u.Sources {
			if s.Device != "" && s.Device != devices[i].ID {
				moved[s.Device] += believed(s.Bytes)
			}
		}
	}
	x.Devices = len(took)
	t := newTable(moved)
	for _, v := range took {
		t.add(v.ID, v.State.Report.Update)
	}
	x.Takers, x.Givers = t.end()
	slices.SortFunc(x.Reasons, func(a, b protocol.Source) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Why, b.Why))
	})
	x.Reasons = x.Reasons[:min(len(x.Reasons), maxReasons)]
	return x
}

// count adds what a device says why it asked the server.
func (x *Exchange) count(u *protocol.Update) {
	named := false
	for _, s := range u.Sources {
		x.Chunks += believed(s.Chunks)
		if s.Device != "" || s.Why == protocol.WhyOthers {
			named = true
			continue
		}
		i := slices.IndexFunc(x.Reasons, func(r protocol.Source) bool { return r.Why == s.Why })
		if i < 0 {
			if len(x.Reasons) >= 4*maxReasons { // made up
				continue
			}
			i, x.Reasons = len(x.Reasons), append(x.Reasons, protocol.Source{Why: s.Why})
		}
		x.Reasons[i].Chunks += believed(s.Chunks)
		x.Reasons[i].Bytes += believed(s.Bytes)
	}
	if u.Bytes.Peers > 0 && !named {
		x.Silent++
	}
}

func believed(n int64) int64 { return min(max(n, 0), maxTold) }

// table is an exchange that is being made: rows and columns are the named devices, and one more for the others.
type table struct {
	named   []string
	at      map[string]int
	given   [][]int64 // by row: named, others, server, unnamed
	devices []int     // by column
}

// newTable names those with most bytes, by id, so that rows stay where they are while an update runs.
func newTable(moved map[string]int64) *table {
	t := &table{at: map[string]int{}}
	for id := range moved {
		t.named = append(t.named, id)
	}
	slices.SortFunc(t.named, func(a, b string) int { return cmp.Or(cmp.Compare(moved[b], moved[a]), cmp.Compare(a, b)) })
	t.named = t.named[:min(len(t.named), maxParties)]
	slices.Sort(t.named)
	for i, id := range t.named {
		t.at[id] = i
	}
	t.given = make([][]int64, len(t.named)+3)
	for i := range t.given {
		t.given[i] = make([]int64, len(t.named)+1)
	}
	t.devices = make([]int, len(t.named)+1)
	return t
}

// place is the number of a device's row and column.
func (t *table) place(device string) int {
	if i, ok := t.at[device]; ok {
		return i
	}
	return len(t.named)
}

func (t *table) add(device string, u *protocol.Update) {
	to := t.place(device)
	t.devices[to]++
	unnamed := believed(u.Bytes.Peers)
	for _, s := range u.Sources {
		if s.Device == "" || s.Device == device {
			continue
		}
		n := min(believed(s.Bytes), unnamed) // a device cannot have more from some neighbours than from all
		t.given[t.place(s.Device)][to] += n
		unnamed -= n
	}
	t.given[len(t.named)+1][to] += believed(u.Bytes.Origin)
	t.given[len(t.named)+2][to] += unnamed
}

// end leaves out who gave nothing, and who took nothing.
func (t *table) end() (takers []Taker, givers []Giver) {
	var columns []int
	for i, n := range t.devices {
		one := Taker{Devices: n}
		if i < len(t.named) {
			one.Device = t.named[i]
		}
		for _, row := range t.given {
			one.Bytes += row[i]
		}
		if one.Bytes > 0 {
			columns, takers = append(columns, i), append(takers, one)
		}
	}
	row := func(i int, kind GiverKind, device string) {
		g := Giver{Kind: kind, Device: device, Gave: make([]int64, len(columns))}
		for at, column := range columns {
			g.Gave[at] = t.given[i][column]
			g.Bytes += g.Gave[at]
		}
		if g.Bytes > 0 {
			givers = append(givers, g)
		}
	}
	n := len(t.named)
	row(n+1, ByServer, "")
	for i, id := range t.named {
		row(i, ByDevice, id)
	}
	row(n, ByOthers, "")
	row(n+2, ByUnnamed, "")
	return takers, givers
}
