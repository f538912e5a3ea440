package mesh_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"testing"

	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/meshtest"
)

// TestLinkLocal greets a neighbour at an address that means something on one link only, as discovery finds it over IPv6,
// and the neighbour learns such an address too.
func TestLinkLocal(t *testing.T) {
	at := linkLocal(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", netip.AddrPortFrom(at, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	fleet := meshtest.NewFleet(t)
	config := func(id string) *tls.Config {
		certificate := fleet.Device(t, id)
		return exchange.TLS(func() tls.Certificate { return certificate }, fleet.Pool)
	}
	met := make(chan netip.AddrPort, 1)
	server := exchange.NewServer(exchange.Options{TLS: config("server"), Met: func(at netip.AddrPort) { met <- at }})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	client := exchange.NewClient("client", config("client"))
	id, err := client.Hello(ctx, netip.AddrPortFrom(at, uint16(l.Addr().(*net.TCPAddr).Port)), 1234)
	if err != nil || id != "server" {
		t.Fatalf("%q %v", id, err)
	}
	if got := <-met; got != netip.AddrPortFrom(at, 1234) {
		t.Errorf("met %v", got)
	}
	client.Close()
	stop()
	<-ended
}

// linkLocal returns a link-local address of this machine, with its zone.
func linkLocal(t *testing.T) netip.Addr {
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		addrs, _ := i.Addrs() // none: the next one may have some
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() && i.Flags&net.FlagUp != 0 {
				return p.Addr().WithZone(i.Name)
			}
		}
	}
	t.Skipf("no link-local address of IPv6 on %d interfaces", len(all))
	return netip.Addr{}
}
