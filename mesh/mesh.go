// Package mesh lets the devices of one LAN share what they fetch, so that a site's uplink carries each byte once.
//
// Neighbours are found by mDNS (mesh/discovery), known by their certificates and traded with over mutual TLS
// (mesh/exchange); who fetches what from whom is decided by a pure core (mesh/swarm). A [Mesh] is the three together, and
// one goroutine per [Mesh.Fetch] that owns its swarm's state.
//
// There is no cache of chunks: they are served straight from where they lie, the slot that is being written or the one that
// runs, through a firmware.Source that verifies what it reads. Patches that came may be kept for neighbours with the same
// base ([Swarm].Patches), as nothing here could make them again; how many, and where, is up to the caller.
package mesh

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/discovery"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// Origin is where the chunks of one payload come from when no neighbour has them.
type Origin interface {
	// Fetch gets chunks and delivers each, verified, from one goroutine or several; n counts the bytes that crossed the
	// line. A batch is one chunk, or what is needed of one of the swarm's groups. What was delivered counts, also when
	// there is an error.
	Fetch(ctx context.Context, batch []firmware.Chunk, deliver Deliver) (n int64, err error)
}

// Options configure New.
type Options struct {
	Device      string                 // id, as in the certificate
	Certificate func() tls.Certificate // the newest, as it is renewed
	FleetCA     *x509.CertPool         //
	Fleet       string                 // tag that neighbours of one fleet share
	Interfaces  []string               // to look for neighbours on; empty: all
	Listen      string                 // address of the exchange; empty: any free port
	Off         bool                   // no neighbours at all: everything comes from the origin
	Link        swarm.Link             // what bytes to neighbours and the origin cost here
	// Received counts the bytes that come from origins, while they come; neighbours wait for a device for as long as it
	// receives. Nil: it is not known.
	Received func() int64
	// Objects returns small content by digest that neighbours may take, such as an index, or nil; nil: there is none.
	Objects func(firmware.Digest) []byte
	// Restraint returns swarm.Limited while this device may not ask origins, swarm.Silent while it may not serve, and else
	// nothing. It may change at any time. Nil: it never does.
	Restraint func() swarm.Link
	// Serve and Closed are limits of what neighbours take; see exchange.Options. Nil: there are none.
	Serve   func(ctx context.Context, n int64) (went func(int64), err error)
	Closed  func() error
	HoldOff time.Duration // before the first fetch from the origin; 0: 1.5 s
	Stall   time.Duration // of a neighbour, until its work goes to another; 0: 5 s
	// Offended hears what neighbours did and should not have done, from several goroutines; it must not block. May be nil.
	Offended func(Offence)
	Log      *slog.Logger
}

// Mesh is this device among its neighbours.
type Mesh struct {
	o      Options
	server *exchange.Server
	client *exchange.Client
	silent silences
	met    chan netip.AddrPort // neighbours that greeted this device
	judged chan discovery.Verdict
	look   chan struct{} // buffer of one
	intro  introductions

	mu        sync.Mutex
	since     time.Time // when looking for neighbours began; zero: not yet
	neighbors map[netip.AddrPort]string
	sight     map[string]netip.AddrPort // the same by device; replaced, never changed
	changed   chan struct{}             // closed when neighbors changes
	stopLast  func()                    // ends the trade of the last Fetch
}

// Neighbor is a device in sight.
type Neighbor struct {
	ID   string         `json:"id"`
	Addr netip.AddrPort `json:"addr"`
}

// New wires a mesh; Run starts it.
func New(o Options) (*Mesh, error) {
	if o.Device == "" {
		return nil, errors.New("mesh: a device id is needed")
	}
	if o.Received == nil {
		o.Received = func() int64 { return 0 }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.HoldOff == 0 {
		o.HoldOff = 1500 * time.Millisecond
	}
	if o.Stall == 0 {
		o.Stall = 5 * time.Second
	}
	config := exchange.TLS(o.Certificate, o.FleetCA)
	m := &Mesh{
		o: o, client: exchange.NewClient(o.Device, config), met: make(chan netip.AddrPort, 16),
		judged: make(chan discovery.Verdict, 16), look: make(chan struct{}, 1),
		neighbors: map[netip.AddrPort]string{}, changed: make(chan struct{}), stopLast: func() {},
		intro: introductions{wake: make(chan struct{}, 1), heard: map[string]time.Time{}},
	}
	m.server = exchange.NewServer(exchange.Options{TLS: config, Objects: o.Objects, Serve: o.Serve, Closed: o.Closed, Met: func(at netip.AddrPort) {
		select {
		case m.met <- at:
		default: // it will be heard of
		}
	}})
	return m, nil
}

// Run looks for neighbours and answers them until ctx ends.
func (m *Mesh) Run(ctx context.Context) error {
	if m.o.Off {
		<-ctx.Done()
		return ctx.Err()
	}
	listen := m.o.Listen
	if listen == "" {
		listen = ":0"
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	defer m.client.Close()
	m.mu.Lock()
	m.since = time.Now()
	m.mu.Unlock()
	port := l.Addr().(*net.TCPAddr).Port
	found := make(chan []netip.AddrPort, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.server.Serve(ctx, l) })
	g.Go(func() error {
		return discovery.Run(ctx, discovery.Options{
			Fleet: m.o.Fleet, Port: port, Interfaces: m.o.Interfaces, Introduced: m.met, Judged: m.judged, Look: m.look, Loud: m.flooded, Log: m.o.Log,
		}, func(all []netip.AddrPort) {
			select {
			case <-found: // only the newest counts
			default:
			}
			found <- all
		})
	})
	g.Go(func() error { return m.greet(ctx, port, found) })
	g.Go(func() error { return m.introduce(ctx, l.Addr()) })
	return g.Wait()
}

// greet learns who is behind each address, and lets them know this device. One that does not answer is asked again with the next news or after a while.
func (m *Mesh) greet(ctx context.Context, port int, found <-chan []netip.AddrPort) error {
	var all []netip.AddrPort
	strange := map[netip.AddrPort]bool{} // this device itself
	again := time.NewTicker(30 * time.Second)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case all = <-found:
		case <-again.C:
		}
		known := m.known()
		var g errgroup.Group
		g.SetLimit(8)
		var mu sync.Mutex
		next := map[netip.AddrPort]string{}
		for _, at := range all {
			if id, ok := known[at]; ok {
				next[at] = id
			}
		}
		m.setNeighbors(maps.Clone(next))
		for _, at := range all {
			if _, ok := known[at]; ok || strange[at] {
				continue
			}
			g.Go(func() error {
				id, err := m.client.Hello(ctx, at, port)
				m.judge(ctx, at, err == nil)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, exchange.ErrSelf):
					strange[at] = true
				case err != nil:
					m.o.Log.Debug("a neighbour does not answer", "addr", at, "err", err)
				default:
					next[at] = id
					m.setNeighbors(maps.Clone(next)) // others may take long to fail
				}
				return nil
			})
		}
		_ = g.Wait() // the functions return nil
	}
}

// judge lets discovery know how it goes with an address, so that real neighbours are kept and others make room.
func (m *Mesh) judge(ctx context.Context, at netip.AddrPort, good bool) {
	select {
	case m.judged <- discovery.Verdict{At: at, Good: good}:
	case <-ctx.Done():
	}
}

func (m *Mesh) known() map[netip.AddrPort]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.neighbors)
}

func (m *Mesh) setNeighbors(next map[netip.AddrPort]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if maps.Equal(next, m.neighbors) {
		return
	}
	m.neighbors, m.sight = next, map[string]netip.AddrPort{}
	for at, id := range next {
		if old, ok := m.sight[id]; !ok || at.Compare(old) < 0 {
			m.sight[id] = at
		}
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// addresses returns one address of each device in sight: the lowest. It is not to be changed.
func (m *Mesh) addresses() map[string]netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sight
}

// Neighbors returns the devices in sight, by id. One that answers at two addresses is listed once.
func (m *Mesh) Neighbors() []Neighbor {
	all := m.addresses()
	out := make([]Neighbor, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, Neighbor{ID: id, Addr: all[id]})
	}
	return out
}

// Served returns how many bytes neighbours have taken from this device since it started.
func (m *Mesh) Served() int64 { return m.server.Served() }

// Share lets neighbours take what a device has of a swarm, until stop is called. It needs no origin.
func (m *Mesh) Share(s Swarm) (stop func()) {
	chunks := s.Index.Distinct()
	board := exchange.NewBoard(m.o.Device, len(chunks), swarm.PackOf(len(chunks), s.Groups))
	board.Post(swarm.PeerSeen{Have: held(chunks, s.Have), Patches: s.kept(), Link: m.o.Link})
	return m.server.Trade(s.ID, board, exchange.Goods{Chunks: s.Have, Patches: s.Patches})
}
