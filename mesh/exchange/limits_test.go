package exchange_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/meshtest"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

const most = 8 // connections, each way

// crowd counts connections, and lets go on who waits for so many.
type crowd struct {
	mu       sync.Mutex
	now, top int
	full     chan struct{} // closed when there were most at once
}

func newCrowd() *crowd { return &crowd{full: make(chan struct{})} }

func (c *crowd) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	if c.now > c.top {
		if c.top = c.now; c.top == most {
			close(c.full)
		}
	}
}

func (c *crowd) peak() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.top
}

// counting is a listener that counts what it has accepted and what is not closed.
type counting struct {
	net.Listener
	crowd *crowd
}

func (c counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.crowd.add(1)
		conn = &countedConn{Conn: conn, leave: sync.OnceFunc(func() { c.crowd.add(-1) })}
	}
	return conn, err
}

type countedConn struct {
	net.Conn
	leave func()
}

func (c *countedConn) Close() error { defer c.leave(); return c.Conn.Close() }

// slow gives a chunk when it is let.
type slow struct {
	let   <-chan struct{}
	plain []byte
}

func (s slow) Has(firmware.ChunkID) bool { return true }
func (s slow) Chunk(ctx context.Context, _ firmware.ChunkID) ([]byte, error) {
	select {
	case <-s.let:
		return s.plain, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func serve(t *testing.T, s *exchange.Server, l net.Listener) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(ctx, l) }()
	t.Cleanup(func() { stop(); <-ended })
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestGreedyClients lets twenty devices come at once and stay as long as they may: eight are in, and in the end each has
// what it came for.
func TestGreedyClients(t *testing.T) {
	fleet, in := meshtest.NewFleet(t), newCrowd()
	plain := []byte("what they all want")
	s := exchange.NewServer(exchange.Options{TLS: exchange.TLS(always(fleet.Device(t, "us")), fleet.Pool)})
	defer s.Trade(firmware.Sum([]byte("index")), exchange.NewBoard("us", 1, swarm.Pack{}), exchange.Goods{Chunks: slow{in.full, plain}})()
	l := listen(t)
	serve(t, s, counting{l, in})
	var g errgroup.Group
	for i := range 20 {
		tls := exchange.TLS(always(fleet.Device(t, fmt.Sprint("d-", i))), fleet.Pool)
		g.Go(func() error {
			client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: tls}}
			r, err := client.Get(fmt.Sprintf("https://%s/mesh/v1/chunks/%s", l.Addr(), firmware.Sum(plain)))
			if err != nil {
				return err
			}
			defer client.CloseIdleConnections()
			defer r.Body.Close()
			if r.StatusCode != http.StatusOK {
				return fmt.Errorf("%s", r.Status)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if got := in.peak(); got != most {
		t.Errorf("%d connections at once", got)
	}
}

// sockets counts the connections that this process has made to some ports and not closed.
func sockets(t *testing.T, ports map[uint16]bool) int {
	t.Helper()
	mine := map[string]bool{} // by their own port: while others come and go, the kernel may list one twice
	b, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		needs.Lack(t, "only Linux says which sockets there are:", err)
	}
	for line := range strings.Lines(string(b)) {
		var no, local, to, state string
		var port uint16
		if _, err := fmt.Sscan(line, &no, &local, &to, &state); err != nil {
			continue
		}
		if _, err := fmt.Sscanf(to, "0100007F:%X", &port); err == nil && ports[port] && (state == "01" || state == "02") {
			mine[local] = true
		}
	}
	return len(mine)
}

// TestManyServers asks twenty devices at once, which take their time: eight connections go out. When they answer, those that
// idle give way to others, and all are heard.
func TestManyServers(t *testing.T) {
	fleet, out, let := meshtest.NewFleet(t), newCrowd(), make(chan struct{})
	plain := []byte("what they all have")
	theirs := exchange.TLS(always(fleet.Device(t, "they")), fleet.Pool)
	client := exchange.NewClient("us", exchange.TLS(always(fleet.Device(t, "us")), fleet.Pool))
	defer client.Close()
	ports := map[uint16]bool{}
	var all []netip.AddrPort
	for range 20 {
		s := exchange.NewServer(exchange.Options{TLS: theirs})
		defer s.Trade(firmware.Sum([]byte("index")), exchange.NewBoard("they", 1, swarm.Pack{}), exchange.Goods{Chunks: slow{let, plain}})()
		l := listen(t)
		serve(t, s, counting{l, out})
		all = append(all, l.Addr().(*net.TCPAddr).AddrPort())
		ports[all[len(all)-1].Port()] = true
	}
	done := make(chan error, len(all))
	for _, at := range all {
		go func() {
			_, err := client.Chunk(t.Context(), at, firmware.Chunk{ID: firmware.Sum(plain), Size: uint32(len(plain))})
			done <- err
		}()
	}
	select {
	case <-out.full:
	case <-time.After(30 * time.Second):
		t.Fatalf("only %d connections", out.peak())
	}
	for range 5 { // the others have their chance
		if n := sockets(t, ports); n > most {
			t.Errorf("%d connections at once; they saw %d", n, out.peak())
			break
		}
		runtime.Gosched()
	}
	close(let)
	for range all {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestSilentStrangers greets many addresses where nobody answers: they leave room for a neighbour.
func TestSilentStrangers(t *testing.T) {
	fleet, met := meshtest.NewFleet(t), newCrowd()
	l0, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "0.0.0.0:0") // all of 127.0.0.0/8
	if err != nil {
		t.Fatal(err)
	}
	silent := counting{l0, met}
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	defer silent.Close()
	id := firmware.Sum([]byte("index"))
	s := exchange.NewServer(exchange.Options{TLS: exchange.TLS(always(fleet.Device(t, "they")), fleet.Pool)})
	defer s.Trade(id, exchange.NewBoard("they", 1, swarm.Pack{}), exchange.Goods{})()
	l := listen(t)
	serve(t, s, l)

	client := exchange.NewClient("us", exchange.TLS(always(fleet.Device(t, "us")), fleet.Pool))
	defer client.Close()
	ctx, stop := context.WithCancel(t.Context())
	var g errgroup.Group
	for i := range 2 * most {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + i)}), silent.Addr().(*net.TCPAddr).AddrPort().Port())
		g.Go(func() error {
			if _, err := client.Hello(ctx, at, 0); err == nil {
				return fmt.Errorf("nobody answers at %s", at)
			}
			return nil
		})
	}
	for met.peak() < most/2 {
		runtime.Gosched()
	}
	soon, over := context.WithTimeout(ctx, 2*time.Second) // less than strangers are given
	defer over()
	if _, err := client.State(soon, l.Addr().(*net.TCPAddr).AddrPort(), id, 0, exchange.Once); err != nil {
		t.Error(err)
	}
	if n := met.peak(); n > most/2 {
		t.Errorf("%d of %d connections are strangers'", n, most)
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// TestIdlersGiveWay fills all places with connections that are kept without a request: another device need not wait for
// their end.
func TestIdlersGiveWay(t *testing.T) {
	fleet := meshtest.NewFleet(t)
	s := exchange.NewServer(exchange.Options{TLS: exchange.TLS(always(fleet.Device(t, "they")), fleet.Pool)})
	l := listen(t)
	serve(t, s, l)
	for i := range 2 * most {
		client := exchange.NewClient(fmt.Sprint("d-", i), exchange.TLS(always(fleet.Device(t, fmt.Sprint("d-", i))), fleet.Pool))
		defer client.Close()
		ctx, over := context.WithTimeout(t.Context(), 2*time.Second) // less than a connection is kept
		defer over()
		if _, err := client.Hello(ctx, l.Addr().(*net.TCPAddr).AddrPort(), 0); err != nil {
			t.Fatal(i, err)
		}
	}
}
