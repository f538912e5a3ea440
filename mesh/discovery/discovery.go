// Package discovery finds the neighbours of a device: agents of the same fleet on the same link, by mDNS service discovery
// (RFC 6763) under _waxwing._tcp.
//
// What a device says of itself is a random instance name, a port, the version of the protocol and the tag of its fleet;
// nothing about its model or what it runs. What it hears is a hint: who a neighbour is, its certificate proves later
// (mesh/exchange).
//
// hashicorp/mdns is used with what it needs: one responder and one query per interface; every query in a goroutine of its
// own, as it blocks for its whole timeout; repeated with jitter, as it sends one packet and loses it now and then; its log
// discarded; entries of other services filtered, as it hands over whatever it hears. Over IPv4 it cannot ask on a machine
// without a default route, so it is made to ask over IPv6 then; the answers are the same. A neighbour that has not
// answered for [Forget] is gone, as goodbyes are never sent. Interfaces are looked at again every minute.
package discovery

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/mdns"
	"golang.org/x/sync/errgroup"
)

const (
	service = "_waxwing._tcp"
	version = "v=1"

	// Forget is how long a silent neighbour is believed to be there.
	Forget = 90 * time.Second

	maxNeighbors = 256 // heard of and remembered, at most
)

// Options configure Run.
type Options struct {
	Fleet      string   // tag; only the same one is heard
	Port       int      // of this device's exchange
	Interfaces []string // names; empty: all that are up and can multicast
	// Introduced are neighbours that were met in another way. They are believed as those that were heard. May be nil.
	Introduced <-chan netip.AddrPort
	Log        *slog.Logger
}

// Found is called with the addresses of all neighbours in sight, whenever they change. This device may be among them.
type Found func([]netip.AddrPort)

// Run announces this device and looks for others until ctx ends. An interface on which neither works is logged and left
// out; with none at all the device simply has no neighbours.
func Run(ctx context.Context, o Options, found Found) error {
	name, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	heard := make(chan netip.AddrPort, 64)
	g.Go(func() error { return remember(ctx, heard, o.Introduced, found) })
	g.Go(func() error { return eachInterface(ctx, o, fmt.Sprintf("%016x", name), heard) })
	return g.Wait()
}

// eachInterface runs one responder and one searcher per interface and looks for new interfaces now and then.
func eachInterface(ctx context.Context, o Options, name string, heard chan<- netip.AddrPort) error {
	running := map[string]context.CancelFunc{}
	g, gctx := errgroup.WithContext(ctx)
	for {
		now := usable(o.Interfaces)
		for key, stop := range running {
			if _, still := now[key]; !still {
				stop()
				delete(running, key)
			}
		}
		for key, iface := range now {
			if running[key] == nil {
				ictx, stop := context.WithCancel(gctx)
				running[key] = stop
				g.Go(func() error {
					if err := onInterface(ictx, o, iface, name, heard); err != nil && ictx.Err() == nil {
						o.Log.Warn("no neighbours on this interface", "interface", iface.Name, "err", err)
					}
					return nil
				})
			}
		}
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-time.After(time.Minute):
		}
	}
}

// usable returns the interfaces to use, by name and addresses: one whose addresses change is a new one.
func usable(names []string) map[string]net.Interface {
	out := map[string]net.Interface{}
	all, _ := net.Interfaces() // none: no neighbours
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		if len(names) > 0 && !slices.Contains(names, i.Name) {
			continue
		}
		if len(names) == 0 && (i.Flags&net.FlagMulticast == 0 || i.Flags&net.FlagLoopback != 0) {
			continue
		}
		if ips := addresses(i); len(ips) > 0 {
			out[fmt.Sprint(i.Name, ips)] = i
		}
	}
	return out
}

// addresses returns the IPv4 addresses of an interface.
func addresses(i net.Interface) []net.IP {
	var ips []net.IP
	addrs, _ := i.Addrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			ips = append(ips, n.IP.To4())
		}
	}
	return ips
}

func onInterface(ctx context.Context, o Options, iface net.Interface, name string, heard chan<- netip.AddrPort) error {
	quiet := log.New(io.Discard, "", 0)
	zone, err := mdns.NewMDNSService(name, service, "local.", name+".local.", o.Port, addresses(iface),
		[]string{version, "fleet=" + o.Fleet})
	if err != nil {
		return err
	}
	responder, err := mdns.NewServer(&mdns.Config{Zone: zone, Iface: &iface, Logger: quiet})
	if err != nil {
		return err
	}
	defer responder.Shutdown() //nolint:errcheck // there is nothing to do about a socket that will not close
	working := true
	for wait := 250 * time.Millisecond; ; wait = min(wait*2, 20*time.Second) {
		err := ask(ctx, o.Fleet, iface, quiet, heard)
		if err != nil && working && ctx.Err() == nil {
			o.Log.Warn("neighbours cannot be looked for on this interface; they can still find this device", "interface", iface.Name, "err", err)
		}
		working = err == nil
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait + mrand.N(wait/2)):
		}
	}
}

// ask sends one query and hands over what answers within a second.
func ask(ctx context.Context, fleet string, iface net.Interface, quiet *log.Logger, heard chan<- netip.AddrPort) error {
	entries := make(chan *mdns.ServiceEntry, 64)
	asked := make(chan error, 1)
	go func() {
		defer close(entries)
		q := mdns.QueryParam{
			Service: service, Domain: "local", Timeout: time.Second, Interface: &iface, Entries: entries,
			WantUnicastResponse: true, DisableIPv6: true, Logger: quiet,
		}
		err := mdns.Query(&q)
		if err != nil {
			q.DisableIPv4, q.DisableIPv6 = true, false
			if err6 := mdns.Query(&q); err6 == nil {
				err = nil
			}
		}
		asked <- err
	}()
	for e := range entries {
		if addr, ok := neighbor(e, fleet, iface); ok {
			select {
			case heard <- addr:
			case <-ctx.Done():
			}
		}
	}
	return <-asked
}

// neighbor judges an answer: ours, same fleet, and an address that this link can have.
func neighbor(e *mdns.ServiceEntry, fleet string, iface net.Interface) (netip.AddrPort, bool) {
	if !strings.HasSuffix(e.Name, "."+service+".local.") || !slices.Contains(e.InfoFields, "fleet="+fleet) ||
		!slices.Contains(e.InfoFields, version) || e.Port <= 0 || e.Port > 65535 {
		return netip.AddrPort{}, false
	}
	ip, ok := netip.AddrFromSlice(e.AddrV4.To4())
	if !ok || !onLink(ip, iface) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, uint16(e.Port)), true
}

// onLink refuses addresses outside the interface's own networks: an answer must not send this device elsewhere.
func onLink(ip netip.Addr, iface net.Interface) bool {
	addrs, _ := iface.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Contains(ip) {
			return true
		}
	}
	return false
}

// remember keeps who was heard and reports changes.
func remember(ctx context.Context, heard, introduced <-chan netip.AddrPort, found Found) error {
	last := map[netip.AddrPort]time.Time{}
	tick := time.NewTicker(Forget / 6)
	defer tick.Stop()
	note := func(addr netip.AddrPort) (changed bool) {
		_, known := last[addr]
		if known || len(last) < maxNeighbors {
			last[addr] = time.Now()
		}
		return !known && len(last) <= maxNeighbors
	}
	for {
		changed := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case addr := <-heard:
			changed = note(addr)
		case addr := <-introduced:
			changed = note(addr)
		case now := <-tick.C:
			for addr, at := range last {
				if now.Sub(at) > Forget {
					delete(last, addr)
					changed = true
				}
			}
		}
		if changed {
			all := make([]netip.AddrPort, 0, len(last))
			for addr := range last {
				all = append(all, addr)
			}
			slices.SortFunc(all, netip.AddrPort.Compare)
			found(all)
		}
	}
}
