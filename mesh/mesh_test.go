package mesh_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
	"github.com/waxwing-ota/waxwing/firmware/chunker"
	"github.com/waxwing-ota/waxwing/mesh"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/meshtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func payload(t *testing.T) ([]byte, *firmware.Index, map[firmware.ChunkID][]byte) {
	t.Helper()
	b := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	byID := map[firmware.ChunkID][]byte{}
	var chunks []firmware.Chunk
	c := firmware.Chunking{Min: 4 << 10, Avg: 16 << 10, Max: 64 << 10}
	if err := chunker.Split(bytes.NewReader(b), c, func(p []byte) error {
		byID[firmware.Sum(p)] = bytes.Clone(p)
		chunks = append(chunks, firmware.Chunk{ID: firmware.Sum(p), Size: uint32(len(p))})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b, firmware.NewIndex(c, chunks), byID
}

// slot is a target in memory.
type slot []byte

func (s slot) ReadAt(p []byte, off int64) (int, error)  { return copy(p, s[off:]), nil }
func (s slot) WriteAt(p []byte, off int64) (int, error) { return copy(s[off:], p), nil }
func (s slot) Sync() error                              { return nil }

type site struct {
	t      *testing.T
	ctx    context.Context
	fleet  *meshtest.Fleet
	origin *meshtest.Origin
	index  *firmware.Index
	whole  []byte
}

func newSite(t *testing.T) *site {
	whole, index, byID := payload(t)
	ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(stop)
	return &site{t: t, ctx: ctx, fleet: meshtest.NewFleet(t), origin: meshtest.NewOrigin(byID, 5*time.Millisecond), index: index, whole: whole}
}

func always(c tls.Certificate) func() tls.Certificate { return func() tls.Certificate { return c } }

// device starts a real device on loopback; it is stopped at the end of the test.
func (s *site) device(id string, change func(*mesh.Options)) *mesh.Mesh {
	s.t.Helper()
	o := mesh.Options{
		Device: id, Certificate: always(s.fleet.Device(s.t, id)), FleetCA: s.fleet.Pool, Fleet: s.fleet.Tag,
		Interfaces: []string{"lo"}, Listen: "127.0.0.1:0", Received: s.origin.Received, HoldOff: 500 * time.Millisecond, Stall: 2 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	m, err := mesh.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = m.Run(ctx) }()
	s.t.Cleanup(func() { stop(); <-done })
	return m
}

func (s *site) see(m *mesh.Mesh, n int) {
	s.t.Helper()
	for len(m.Neighbors()) < n {
		select {
		case <-s.ctx.Done():
			s.t.Fatalf("sees only %v", m.Neighbors())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *site) fetch(m *mesh.Mesh, groups ...[]int) (mesh.Traffic, slot, error) {
	target := make(slot, len(s.whole))
	a := assemble.New(assemble.Options{Index: s.index, Digest: firmware.Sum(s.whole), Target: target})
	var traffic mesh.Traffic
	_, err := a.Run(s.ctx, func(ctx context.Context, missing []firmware.Chunk, deliver assemble.Deliver) (err error) {
		traffic, err = m.Fetch(ctx, mesh.Swarm{
			ID: firmware.Sum(s.index.Encode()), Index: s.index, Have: a, Origin: s.origin, Groups: groups,
		}, missing, deliver)
		return err
	})
	if err == nil && !bytes.Equal(target, s.whole) {
		err = fmt.Errorf("another payload")
	}
	if err == nil {
		s.t.Cleanup(m.Share(mesh.Swarm{ID: firmware.Sum(s.index.Encode()), Index: s.index, Have: a}))
	}
	return traffic, target, err
}

// TestOneCopy lets six devices fetch together: about one copy crosses the uplink. A late one takes nothing from it.
func TestOneCopy(t *testing.T) {
	s := newSite(t)
	const n = 6
	devices := make([]*mesh.Mesh, n)
	for i := range devices {
		devices[i] = s.device(fmt.Sprintf("d-%d", i), nil)
	}
	for _, d := range devices {
		s.see(d, n-1)
	}
	var g errgroup.Group
	for _, d := range devices {
		g.Go(func() error { _, _, err := s.fetch(d); return err })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	chunks := len(s.index.Chunks)
	if asked, _ := s.origin.Asked(); asked < chunks || asked > chunks+chunks/10 {
		t.Errorf("%d chunks over the uplink for %d", asked, chunks)
	}
	before, _ := s.origin.Asked()
	late := s.device("late", nil)
	s.see(late, n)
	traffic, _, err := s.fetch(late)
	if after, _ := s.origin.Asked(); err != nil || traffic.Origin != 0 || after != before {
		t.Errorf("a late device took %d bytes from the origin: %v", traffic.Origin, err)
	}
	served := int64(0)
	for _, d := range devices {
		served += d.Served()
	}
	if served < traffic.Peers {
		t.Errorf("%d bytes served, %d taken", served, traffic.Peers)
	}
}

// TestOneCopyOfAPack lets devices with two bases, and devices with none, fetch together: each group of the better pack
// crosses the uplink once, in one request, and what it lacks by itself.
func TestOneCopyOfAPack(t *testing.T) {
	s := newSite(t)
	chunks := len(s.index.Distinct())
	groups := func(first, size int) (out [][]int) {
		for c := first; c+size <= chunks; c += size {
			g := make([]int, size)
			for i := range g {
				g[i] = c + i
			}
			out = append(out, g)
		}
		return out
	}
	better, worse := groups(7, 12), groups(chunks/2, 5)
	const n = 6
	var devices []*mesh.Mesh
	for i := range n {
		devices = append(devices, s.device(fmt.Sprintf("d-%d", i), nil))
	}
	for _, d := range devices {
		s.see(d, n-1)
	}
	var g errgroup.Group
	for i, d := range devices {
		pack := [][][]int{better, better, worse, nil}[i%4]
		g.Go(func() error { _, _, err := s.fetch(d, pack...); return err })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	asked, requests := s.origin.Asked()
	ideal := len(better) + chunks - 12*len(better)
	if asked < chunks || asked > chunks+chunks/10 || requests > ideal+ideal/10+2 {
		t.Errorf("%d chunks in %d requests over the uplink for %d in %d", asked, requests, chunks, ideal)
	}
}

// TestPartOfAGroup lets some chunks of a group not come: what came counts, and the others are asked for again.
func TestPartOfAGroup(t *testing.T) {
	s := newSite(t)
	m := s.device("alone", func(o *mesh.Options) { o.Off, o.Stall = true, 100*time.Millisecond })
	chunks := s.index.Distinct()
	s.origin.Fail(chunks[3].ID, 1)
	all := make([]int, len(chunks))
	for i := range all {
		all[i] = i
	}
	traffic, _, err := s.fetch(m, all)
	if err != nil {
		t.Fatal(err)
	}
	if asked, requests := s.origin.Asked(); asked != len(chunks)+1 || requests != 2 || traffic.Origin != s.origin.Received() {
		t.Errorf("%d chunks in %d requests, %d bytes; want %d in 2, %d", asked, requests, traffic.Origin, len(chunks)+1, s.origin.Received())
	}
}

func TestAlone(t *testing.T) {
	s := newSite(t)
	m := s.device("alone", func(o *mesh.Options) { o.Off = true })
	traffic, _, err := s.fetch(m)
	if err != nil || traffic.Peers != 0 || traffic.Origin == 0 {
		t.Fatalf("%+v, %v", traffic, err)
	}
}

// liar claims everything and gives wrong bytes.
type liar struct{}

func (liar) Has(firmware.ChunkID) bool { return true }
func (liar) Chunk(_ context.Context, _ firmware.ChunkID) ([]byte, error) {
	return []byte("poison"), nil
}

func TestLiarIsDropped(t *testing.T) {
	s := newSite(t)
	bad := s.device("bad", nil)
	t.Cleanup(bad.Share(mesh.Swarm{ID: firmware.Sum(s.index.Encode()), Index: s.index, Have: liar{}}))
	good := s.device("good", nil)
	s.see(good, 1)
	traffic, _, err := s.fetch(good)
	if err != nil {
		t.Fatal(err)
	}
	if traffic.Origin == 0 || traffic.Peers != 0 {
		t.Fatalf("%+v", traffic)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	s := newSite(t)
	other := meshtest.NewFleet(t)
	m := s.device("ours", nil)
	s.device("theirs", func(o *mesh.Options) { // says that it is of our fleet, but its certificate is not
		o.Certificate, o.FleetCA = always(other.Device(t, "theirs")), other.Pool
	})
	friend := s.device("friend", nil)
	s.see(m, 1)
	s.see(friend, 1)
	for _, n := range append(m.Neighbors(), friend.Neighbors()...) {
		if n.ID == "theirs" {
			t.Fatal("a stranger is a neighbour")
		}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: exchange.TLS(always(other.Device(t, "x")), s.fleet.Pool)}}
	defer client.CloseIdleConnections()
	r, err := client.Get("https://" + friend.Neighbors()[0].Addr.String() + "/mesh/v1/hello")
	if err == nil {
		r.Body.Close()
		t.Fatalf("a stranger got %s", r.Status)
	}
}

// TestWhoGreetsIsKnown lets a device greet another on a link without any discovery: the greeted one knows it then. So a
// device that has just started again, at another port, is known at once to those who are about to need it.
func TestWhoGreetsIsKnown(t *testing.T) {
	s := newSite(t)
	blind := func(o *mesh.Options) { o.Interfaces = []string{"no such interface"} }
	at := func(m func(*mesh.Options)) (*mesh.Mesh, netip.AddrPort) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		_ = l.Close()
		return s.device(fmt.Sprint("d-", addr.Port()), func(o *mesh.Options) { m(o); o.Listen = addr.String() }), addr
	}
	one, first := at(blind)
	_, second := at(blind)
	name := fmt.Sprint("d-", second.Port())
	client := exchange.NewClient("stranger", exchange.TLS(always(s.fleet.Device(t, name)), s.fleet.Pool))
	defer client.Close()
	for _, to := range []netip.AddrPort{second, first} { // the first greeting waits until both listen
		for {
			if _, err := client.Hello(s.ctx, to, int(second.Port())); err == nil {
				break
			}
			select {
			case <-s.ctx.Done():
				t.Fatal(s.ctx.Err())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	s.see(one, 1)
	if got := one.Neighbors()[0]; got.ID != name || got.Addr != second {
		t.Fatalf("knows %v, want %s at %s", got, name, second)
	}
}

func TestOriginFailure(t *testing.T) {
	s := newSite(t)
	s.origin = meshtest.NewOrigin(nil, 0)
	m := s.device("alone", func(o *mesh.Options) { o.Off = true })
	ctx, stop := context.WithTimeout(s.ctx, time.Second)
	defer stop()
	s.ctx = ctx
	if _, _, err := s.fetch(m); err == nil {
		t.Fatal("finished without an origin")
	}
}
