package mesh_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/mesh"
	"github.com/waxwing-ota/waxwing/mesh/meshtest"
)

// stranger starts a mesh that nobody hears of by mDNS.
func stranger(t *testing.T, fleet *meshtest.Fleet, id string) *mesh.Mesh {
	t.Helper()
	cert := fleet.Device(t, id)
	m, err := mesh.New(mesh.Options{
		Device: id, Certificate: always(cert), FleetCA: fleet.Pool, Fleet: fleet.Tag + id, Interfaces: []string{"lo"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	eventually(t, id+" listens", func() bool { return len(m.Addresses()) > 0 })
	return m
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.After(15 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatal("never:", what)
		case <-tick.C:
		}
	}
}

func ids(m *mesh.Mesh) (all []string) {
	for _, n := range m.Neighbors() {
		all = append(all, n.ID)
	}
	return all
}

// TestIntroduced lets devices meet that no multicast brings together: each is told of one other, which is told of it by the
// greeting.
func TestIntroduced(t *testing.T) {
	fleet := meshtest.NewFleet(t)
	a, b, c := stranger(t, fleet, "d-a"), stranger(t, fleet, "d-b"), stranger(t, fleet, "d-c")
	foreign := stranger(t, meshtest.NewFleet(t), "d-x")
	silent := netip.MustParseAddrPort("127.0.0.1:1")
	b.Introduce(slices.Concat(a.Addresses(), b.Addresses(), foreign.Addresses(), []netip.AddrPort{silent}))
	c.Introduce(slices.Concat(a.Addresses(), b.Addresses()))
	for _, o := range []struct {
		m    *mesh.Mesh
		want []string
	}{{a, []string{"d-b", "d-c"}}, {b, []string{"d-a", "d-c"}}, {c, []string{"d-a", "d-b"}}} {
		eventually(t, "all meet", func() bool { return slices.Equal(ids(o.m), o.want) })
	}
	if got := foreign.Neighbors(); len(got) != 0 {
		t.Errorf("a device of another fleet has neighbours: %v", got)
	}
}

func TestReaches(t *testing.T) {
	fleet := meshtest.NewFleet(t)
	a, b := stranger(t, fleet, "d-a"), stranger(t, fleet, "d-b")
	at := b.Addresses()
	for _, o := range []struct {
		device string
		at     []netip.AddrPort
		want   bool
	}{
		{"d-b", []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, false},
		{"d-b", nil, false},
		{"d-c", at, false}, // somebody else answers
		{"d-b", append([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, at...), true},
		{"d-b", nil, true}, // it has answered a moment ago
	} {
		if got := a.Reaches(t.Context(), o.device, o.at); got != o.want {
			t.Errorf("%s at %v: %v", o.device, o.at, got)
		}
	}
	a.Introduce(at)
	eventually(t, "it is in sight", func() bool { return slices.Equal(ids(a), []string{"d-b"}) })
	if !a.Reaches(t.Context(), "d-b", nil) {
		t.Error("a neighbour in sight is reached where it is known")
	}
	if !at[0].Addr().IsLoopback() {
		t.Errorf("with the loopback alone a device listens at %v", at)
	}
}
