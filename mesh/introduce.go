package mesh

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/mesh/discovery"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
)

const (
	maxIntroduced   = 128 // addresses that are kept
	maxAddresses    = 8   // that this device says to listen at
	greetAtOnce     = 8   // that were introduced
	firstIntroAgain = 5 * time.Second
	lastIntroAgain  = 6 * time.Hour // an address that never answers costs next to nothing
	reachTime       = 5 * time.Second
	heardLately     = 10 * time.Second
)

// ErrHeld is what an error of [Origin] matches when another device of the site has the chunks or fetches them now, and this
// device reaches it: they will come from there, and the origin is as good as ever.
var ErrHeld = errors.New("another device of the site has it, or fetches it")

// introductions are neighbours that somebody else knows of: the server, which sees who shares a site, or one who holds what
// this device asked for. They may be in other subnets, where no multicast goes.
type introductions struct {
	mu     sync.Mutex
	listed []netip.AddrPort
	wake   chan struct{}        // buffer of one
	listen netip.AddrPort       // of the exchange; invalid: not yet
	heard  map[string]time.Time // device → when it last answered anything
}

// hears notes that a device has answered.
func (i *introductions) hears(device string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.heard) >= maxIntroduced {
		clear(i.heard)
	}
	i.heard[device] = time.Now()
}

// Introduce names addresses at which neighbours may be found, in place of those named before. They are greeted, and who
// answers is a neighbour like those that were heard of by mDNS for as long as it is listed. Who it is its certificate proves.
func (m *Mesh) Introduce(at []netip.AddrPort) {
	at = slices.Clone(at[:min(len(at), maxIntroduced)])
	slices.SortFunc(at, netip.AddrPort.Compare)
	at = slices.Compact(at)
	m.intro.mu.Lock()
	m.intro.listed = at
	m.intro.mu.Unlock()
	select {
	case m.intro.wake <- struct{}{}:
	default:
	}
}

// Addresses returns where other devices may reach this one's exchange: the addresses of the configured interfaces, IPv4
// first, without link-local ones of IPv6, which mean nothing elsewhere. The loopback counts when nothing else is configured.
// None: it does not listen yet.
func (m *Mesh) Addresses() []netip.AddrPort {
	m.intro.mu.Lock()
	listen := m.intro.listen
	m.intro.mu.Unlock()
	if !listen.IsValid() {
		return nil
	}
	if !listen.Addr().IsUnspecified() {
		return []netip.AddrPort{listen}
	}
	var out, loopback []netip.AddrPort
	all, _ := net.Interfaces() // none: no addresses
	for _, i := range all {
		named := slices.Contains(m.o.Interfaces, i.Name)
		if i.Flags&net.FlagUp == 0 || len(m.o.Interfaces) > 0 && !named {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			at := netip.AddrPortFrom(p.Addr().Unmap(), listen.Port())
			switch ip := at.Addr(); {
			case err != nil || ip.Is6() && ip.IsLinkLocalUnicast():
			case ip.IsLoopback():
				if named {
					loopback = append(loopback, at)
				}
			default:
				out = append(out, at)
			}
		}
	}
	if len(out) == 0 {
		out = loopback
	}
	slices.SortStableFunc(out, func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	return out[:min(len(out), maxAddresses)]
}

// Reaches greets a device at addresses, and where it is known, and reports whether it answers now. One that has answered
// something else a moment ago is not bothered: it may be busy.
func (m *Mesh) Reaches(ctx context.Context, device string, at []netip.AddrPort) bool {
	m.intro.mu.Lock()
	heard, ok := m.intro.heard[device]
	m.intro.mu.Unlock()
	if ok && time.Since(heard) < heardLately {
		return true
	}
	ctx, enough := context.WithTimeout(ctx, reachTime)
	defer enough()
	try := slices.Clone(at[:min(len(at), maxAddresses)])
	for known, id := range m.known() {
		if id == device && !slices.Contains(try, known) {
			try = append(try, known)
		}
	}
	found := make(chan struct{}, len(try))
	var g errgroup.Group
	g.SetLimit(greetAtOnce)
	for _, a := range try {
		g.Go(func() error {
			if id, err := m.client.Hello(ctx, a, m.port()); err == nil && id == device {
				m.intro.hears(id)
				found <- struct{}{}
				enough()
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	return len(found) > 0
}

func (m *Mesh) port() int {
	m.intro.mu.Lock()
	defer m.intro.mu.Unlock()
	return int(m.intro.listen.Port())
}

// introduced is how it goes with an address.
type introduced struct {
	answers bool // and is kept among the neighbours
	self    bool
	id      string        // of the device there; empty: not known
	next    time.Time     // when it is greeted again
	wait    time.Duration // after that
}

// introduce greets who was introduced until ctx ends. One that answers is told to discovery again and again, which costs no
// traffic, so that it is not forgotten.
func (m *Mesh) introduce(ctx context.Context, listen net.Addr) error {
	at, err := netip.ParseAddrPort(listen.String())
	if err != nil {
		return err
	}
	m.intro.mu.Lock()
	m.intro.listen = at
	m.intro.mu.Unlock()
	defer func() {
		m.intro.mu.Lock()
		m.intro.listen = netip.AddrPort{}
		m.intro.mu.Unlock()
	}()
	all := map[netip.AddrPort]*introduced{}
	keep := time.NewTicker(discovery.Forget / 3)
	defer keep.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		var tell []netip.AddrPort
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-keep.C:
			for a, i := range all {
				if i.answers {
					tell = append(tell, a)
				}
			}
		case <-m.intro.wake:
		case <-again.C:
		}
		m.relist(all)
		tell = append(tell, m.greetIntroduced(ctx, all)...)
		for _, a := range tell {
			select {
			case m.met <- a:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		wait := time.Hour
		for _, i := range all {
			if !i.answers && !i.self {
				wait = min(wait, time.Until(i.next))
			}
		}
		again.Reset(max(wait, 0))
	}
}

// relist makes all what is listed now.
func (m *Mesh) relist(all map[netip.AddrPort]*introduced) {
	m.intro.mu.Lock()
	listed := m.intro.listed
	m.intro.mu.Unlock()
	for _, a := range listed {
		if all[a] == nil {
			all[a] = &introduced{wait: firstIntroAgain}
		}
	}
	maps.DeleteFunc(all, func(a netip.AddrPort, _ *introduced) bool {
		_, still := slices.BinarySearchFunc(listed, a, netip.AddrPort.Compare)
		return !still
	})
}

// greetIntroduced greets some of those that are due, those first that were tried least, and returns who answered. A device
// that is in sight at another address already is enough at one.
func (m *Mesh) greetIntroduced(ctx context.Context, all map[netip.AddrPort]*introduced) (answered []netip.AddrPort) {
	now := time.Now()
	elsewhere := map[string]bool{} // in sight at an address that is not listed
	for a, id := range m.known() {
		if _, here := all[a]; !here {
			elsewhere[id] = true
		}
	}
	var due []netip.AddrPort
	for a, i := range all {
		switch {
		case i.answers || i.self || i.next.After(now):
		case elsewhere[i.id]:
			i.next = now.Add(discovery.Forget)
		default:
			due = append(due, a)
		}
	}
	slices.SortFunc(due, func(a, b netip.AddrPort) int {
		if d := all[a].wait - all[b].wait; d != 0 {
			return int(d / time.Second)
		}
		return a.Compare(b)
	})
	due = due[:min(len(due), greetAtOnce)]
	ids, errs := make([]string, len(due)), make([]error, len(due))
	var g errgroup.Group
	port := m.port()
	for n, a := range due {
		g.Go(func() error { ids[n], errs[n] = m.client.Hello(ctx, a, port); return nil })
	}
	_ = g.Wait() // the functions return nil
	for _, i := range all {
		if i.answers {
			elsewhere[i.id] = true
		}
	}
	for n, a := range due {
		i := all[a]
		i.id, i.next = ids[n], time.Now().Add(i.wait)
		i.wait = min(2*i.wait, lastIntroAgain)
		switch {
		case errors.Is(errs[n], exchange.ErrSelf):
			i.self = true
		case errs[n] == nil && !elsewhere[i.id]:
			elsewhere[i.id], i.answers = true, true
			answered = append(answered, a)
		}
	}
	return answered
}
