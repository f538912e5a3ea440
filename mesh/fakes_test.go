package mesh_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh"
)

// fakes announces so many devices of a fleet on the loopback, each at an address of its own, again and again until the test
// ends. Who calls them is never answered; called says how often somebody has.
func fakes(t *testing.T, fleet string, n int) (called func() int64) {
	t.Helper()
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "0.0.0.0:0") // all of 127.0.0.0/8
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	var ended sync.WaitGroup
	ended.Go(func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			defer c.Close()
		}
	})
	t.Cleanup(func() { silent.Close(); ended.Wait() })
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		needs.Lack(t, err)
	}
	port := silent.Addr().(*net.TCPAddr).Port
	share := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		}); e != nil {
			return e
		}
		return err
	}}
	type fake struct {
		conn net.PacketConn
		says []byte
	}
	var all []fake
	for i := range n {
		ip := net.IPv4(127, 1, byte(i/250), byte(1+i%250))
		conn, err := share.ListenPacket(t.Context(), "udp4", fmt.Sprintf("%s:5353", ip))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		p := ipv4.NewPacketConn(conn)
		if err := errors.Join(p.SetMulticastInterface(lo), p.SetMulticastTTL(255)); err != nil {
			t.Fatal(err)
		}
		name := firmware.Sum([]byte(ip.String()))
		zone, err := mdns.NewMDNSService(hex.EncodeToString(name[:8]), "_waxwing._tcp", "local.", "x.local.", port, []net.IP{ip}, []string{"v=1", "fleet=" + fleet})
		if err != nil {
			t.Fatal(err)
		}
		m := dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
		m.Answer = zone.Records(dns.Question{Name: "_waxwing._tcp.local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET})
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fake{conn, b})
	}
	ctx, stop := context.WithCancel(t.Context())
	ended.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond) // fewer than would be a flood
		defer tick.Stop()
		for i := 0; ; i++ {
			f := all[i%n]
			_, _ = f.conn.WriteTo(f.says, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(stop)
	return calls.Load
}

// TestFakePeers lets 500 devices be announced that do not answer. Two devices that know each other update about as fast as
// two of another site at the same time, and one that comes then as fast as one that is alone: it may need a while to find the
// others among the fakes, and does not wait for that.
func TestFakePeers(t *testing.T) {
	with, without := newSite(t), newSite(t)
	pair := func(s *site) []*mesh.Mesh {
		a, b := s.device("a", nil), s.device("b", nil)
		s.see(a, 1)
		s.see(b, 1)
		return []*mesh.Mesh{a, b}
	}
	troubled, clean := pair(with), pair(without)
	called := fakes(t, with.fleet.Tag, 500)
	eventually(t, "they are believed", func() bool { return called() >= 8 })
	update := func(s *site, devices ...*mesh.Mesh) <-chan time.Duration {
		took, began := make(chan time.Duration, 1), time.Now()
		var g errgroup.Group
		for _, m := range devices {
			g.Go(func() error { _, _, err := s.fetch(m); return err })
		}
		go func() {
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
			took <- time.Since(began)
		}()
		return took
	}
	a, b := update(with, troubled...), update(without, clean...)
	if took, usual := <-a, <-b; took > 2*usual {
		t.Errorf("an update took %s, and %s without the fakes", took, usual)
	}
	if asked, _ := with.origin.Asked(); asked > len(with.index.Distinct())*11/10 {
		t.Errorf("%d chunks crossed the uplink for %d", asked, len(with.index.Distinct()))
	}
	alone := newSite(t)
	a, b = update(with, with.device("late", nil)), update(alone, alone.device("late", nil))
	if took, usual := <-a, <-b; took > 2*usual {
		t.Errorf("the update of one that came late took %s, and %s of one alone", took, usual)
	}
}
