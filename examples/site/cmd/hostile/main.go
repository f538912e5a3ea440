// Command hostile is a device of the fleet that means harm to its neighbours: it has a certificate, announces itself, and
// does one of these to each neighbour, another one to the next, so that they lose as much time and as many bytes as possible:
//
//	0  wrong bytes    says that it has everything and gives other bytes
//	1  claims         says that it fetches everything and that bytes come, and never has any
//	2  silence        says that it has everything, takes requests and never answers
//	3  drips          says that it has everything and gives ten bytes a second
//
// How many chunks an index has, it learns from the neighbour that asks about it.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/discovery"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

func main() {
	config := flag.String("config", "", "agent.json of an enrolled device")
	way := flag.Int("way", -1, "to do harm, by its number; -1: another one to each neighbour")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *config, *way)
	if ctx.Err() != nil {
		err = nil
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

// The ways to do harm.
const (
	wrong = iota
	claims
	silence
	drips
	ways
)

// device is a hostile one.
type device struct {
	way    int
	client *exchange.Client

	mu     sync.Mutex
	known  map[netip.AddrPort]bool       // neighbours
	chunks map[firmware.Digest]int       // of each swarm that was asked about
	began  map[firmware.Digest]time.Time // when it was first asked about
}

func run(ctx context.Context, config string, way int) error {
	c, err := agent.LoadConfig(config)
	if err != nil {
		return err
	}
	id, err := agent.LoadIdentity(c.Path(""))
	if err != nil {
		return err
	}
	tls := exchange.TLS(id.Certificate, id.Pool())
	d := &device{
		way: way, client: exchange.NewClient(c.Device, tls), known: map[netip.AddrPort]bool{}, chunks: map[firmware.Digest]int{},
		began: map[firmware.Digest]time.Time{},
	}
	defer d.client.Close()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", ":0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	mux := http.NewServeMux()
	mux.HandleFunc("GET /mesh/v1/hello", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /mesh/v1/swarms/{id}", d.state)
	mux.HandleFunc("GET /mesh/v1/chunks/{id}", d.give)
	mux.HandleFunc("GET /mesh/v1/objects/{id}", d.object)
	server := &http.Server{
		Handler: mux, TLSConfig: tls, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx },
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	g.Go(func() error { return server.ServeTLS(l, "", "") })
	g.Go(func() error {
		return discovery.Run(ctx, discovery.Options{Fleet: c.Fleet, Port: port, Interfaces: c.Mesh.Interfaces, Log: log},
			func(all []netip.AddrPort) {
				d.mu.Lock()
				for _, at := range all {
					d.known[at] = true
				}
				d.mu.Unlock()
				for _, at := range all {
					go func() { _, _ = d.client.Hello(ctx, at, port) }() // so that it is known at once
				}
			})
	})
	return g.Wait()
}

// wayTo returns what is done to the neighbour that asks.
func (d *device) wayTo(r *http.Request) int {
	if d.way >= 0 {
		return d.way
	}
	h := fnv.New32a()
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		_, _ = h.Write([]byte(r.TLS.PeerCertificates[0].Subject.CommonName))
	}
	return int(h.Sum32() % ways)
}

// state says what it has or fetches: everything.
func (d *device) state(w http.ResponseWriter, r *http.Request) {
	id, err := firmware.ParseDigest(r.PathValue("id"))
	if err != nil {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	n := d.size(r.Context(), id)
	if n == 0 {
		http.Error(w, "not yet", http.StatusNotFound)
		return
	}
	all := swarm.NewSet(n)
	for c := range n {
		all.Add(c)
	}
	revision, _ := strconv.ParseUint(r.URL.Query().Get("rev"), 10, 64)
	if revision > 0 { // news comes often, but not so often that it is all that neighbours do
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Second):
		}
	}
	s := exchange.State{Revision: revision + 1, Chunks: n, Have: all.Bytes()}
	if d.wayTo(r) == claims {
		d.mu.Lock()
		since := time.Since(d.began[id])
		d.mu.Unlock()
		s.Have, s.Fetching, s.Received = swarm.NewSet(n).Bytes(), all.Runs(), int64(since/time.Millisecond)*1000
	}
	_ = json.NewEncoder(w).Encode(s)
}

// size asks neighbours how many chunks a swarm has.
func (d *device) size(ctx context.Context, id firmware.Digest) int {
	d.mu.Lock()
	n := d.chunks[id]
	var ask []netip.AddrPort
	for at := range d.known {
		ask = append(ask, at)
	}
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, at := range ask {
		if n > 0 {
			break
		}
		if s, err := d.client.State(ctx, at, id, 0, exchange.Once); err == nil {
			n = s.Chunks
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n > 0 && d.chunks[id] == 0 {
		d.chunks[id], d.began[id] = n, time.Now()
	}
	return n
}

// give hands out a chunk, in its way.
func (d *device) give(w http.ResponseWriter, r *http.Request) {
	b := make([]byte, 64<<10)
	_, _ = rand.Read(b) // never fails
	switch d.wayTo(r) {
	case claims:
		http.Error(w, "no", http.StatusNotFound)
	case silence:
		<-r.Context().Done()
	case drips:
		control := http.NewResponseController(w)
		for len(b) >= 10 {
			if _, err := w.Write(b[:10]); err != nil {
				return
			}
			_ = control.Flush() // a neighbour that has gone shows when more is written
			b = b[10:]
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	default:
		_, _ = w.Write(b)
	}
}

// object lets neighbours wait for an index that never comes, or gives another one.
func (d *device) object(w http.ResponseWriter, r *http.Request) {
	if d.wayTo(r) == claims {
		w.Header().Set("Waxwing-Interest", string(exchange.Fetching))
		http.Error(w, "soon", http.StatusServiceUnavailable)
		return
	}
	d.give(w, r)
}
