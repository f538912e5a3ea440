package agent

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/agent/origin"
	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// Vicinity is Neighbors to whom others can be introduced: by the server, which knows who shares a site.
type Vicinity interface {
	// Introduce names addresses where neighbours may be found, in place of those named before.
	Introduce(at []netip.AddrPort)
	// Reaches reports whether a device answers now, at one of the addresses or where it is known. It takes seconds at most.
	Reaches(ctx context.Context, device string, at []netip.AddrPort) bool
	// Addresses returns where this device listens; none: not yet.
	Addresses() []netip.AddrPort
}

const (
	soonestLook = 100 * time.Millisecond // for the addresses of this device
	latestLook  = time.Minute
	formerFor   = 10 * time.Minute
	mostFormer  = 2 * protocol.MaxPeers
	settled     = 2 * time.Minute  // after the start
	sightEvery  = 15 * time.Minute // a change of the number of neighbours is told then, so that an idle device keeps quiet
)

// site is what this device knows of others that share its uplink, from the server: who they are, and who holds what it asked
// for. All of it is hints, bounded, and in memory only, but for who could not be reached: a report says so after the reboot
// too.
type site struct {
	near    Vicinity // nil: nobody can be introduced
	sight   func() int
	origin  *origin.Client
	config  *Config
	changed func() // the report says something else now
	now     func() time.Time
	log     *slog.Logger
	file    string // of the holders that did not answer

	mu      sync.Mutex
	local   []netip.AddrPort
	hint    protocol.Site
	former  map[string]former // device → that was named until a moment ago
	holders map[string]*holder
	waits   map[string]time.Time // file or range → since when it is left to others
}

// former is a device that the server names no longer. It is likely to be there still: a server that has just started names few.
type former struct {
	at    []netip.AddrPort
	until time.Time
}

func newSite(a *Agent) *site {
	s := &site{
		origin: a.origin, config: a.Config, changed: a.look, now: a.Now, log: a.Log,
		sight:  func() int { n, _ := a.neighbors.Sight(); return n },
		former: map[string]former{}, holders: map[string]*holder{}, waits: map[string]time.Time{},
		file: filepath.Join(a.Config.Path(stateDir), "isolated.json"),
	}
	s.load()
	if !a.Config.Mesh.Off && !a.Config.Mesh.Unlisted {
		s.near, _ = a.neighbors.(Vicinity)
	}
	return s
}

// run keeps an eye on where this device listens and how many it sees, until ctx ends.
func (s *site) run(ctx context.Context) error {
	if s.near == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	begin := time.Now()
	told, toldAt := 0, begin
	for wait := soonestLook; ; wait = min(2*wait, latestLook) {
		if n := s.sight(); n != told && (time.Since(begin) < settled || time.Since(toldAt) > sightEvery) {
			told, toldAt = n, time.Now()
			s.changed()
		}
		now := s.near.Addresses()
		s.mu.Lock()
		same := slices.Equal(now, s.local)
		s.local = now
		s.mu.Unlock()
		if !same {
			s.introduce() // other addresses may be of use now
			s.changed()
		}
		again := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		case <-again.C:
		}
	}
}

// hear takes a hint of the server, from either way.
func (s *site) hear(b []byte) {
	if s.near == nil {
		return
	}
	hint := new(protocol.Site)
	if len(b) > 0 { // else the hint was removed
		var err error
		if hint, err = protocol.ParseSite(b, s.config.Device); err != nil {
			s.log.Warn("a hint about neighbours is not understood", "error", err)
			return
		}
	}
	s.mu.Lock()
	known := s.hint.Epoch == hint.Epoch && s.hint.Site == hint.Site
	now := s.now()
	maps.DeleteFunc(s.former, func(_ string, f former) bool { return now.After(f.until) })
	for _, p := range s.hint.Peers {
		if len(s.former) < mostFormer {
			s.former[p.Device] = former{protocol.ParseAddresses(p.Addresses), now.Add(formerFor)}
		}
	}
	for _, p := range hint.Peers {
		delete(s.former, p.Device)
	}
	s.hint = *hint
	s.mu.Unlock()
	if !known {
		s.log.Debug("the server named neighbours", "site", hint.Site, "count", len(hint.Peers))
		s.introduce()
	}
}

// introduce hands on the addresses of everybody who was named and may be in reach.
func (s *site) introduce() {
	if s.near == nil {
		return
	}
	links := prefixes()
	s.mu.Lock()
	var all []netip.AddrPort
	add := func(list []netip.AddrPort) {
		for _, a := range list {
			if reachable(a, s.local, links) && !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.holders)) { // before the others, whom the number may be too large for
		if h := s.holders[id]; s.now().Sub(h.named) < holderFor {
			add(h.at)
		}
	}
	for _, p := range s.hint.Peers {
		add(protocol.ParseAddresses(p.Addresses))
	}
	for _, id := range slices.Sorted(maps.Keys(s.former)) {
		if f := s.former[id]; s.now().Before(f.until) {
			add(f.at)
		}
	}
	s.mu.Unlock()
	s.near.Introduce(all)
}

// prefixes returns the networks that this device is in.
func prefixes() (out []netip.Prefix) {
	all, _ := net.InterfaceAddrs() // none: none
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// shared is what carriers give to networks behind them (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// reachable refuses addresses where no neighbour is: nobody, such as a stranger at the broker, sends this device out to the
// world, or to itself unless it listens there only.
func reachable(at netip.AddrPort, local []netip.AddrPort, links []netip.Prefix) bool {
	a := at.Addr()
	switch {
	case at.Port() == 0 || a.IsUnspecified() || a.IsMulticast() || a.Is6() && a.IsLinkLocalUnicast() || slices.Contains(local, at):
		return false
	case a.IsLoopback():
		return slices.ContainsFunc(local, func(l netip.AddrPort) bool { return l.Addr().IsLoopback() })
	case a.IsPrivate() || a.IsLinkLocalUnicast() || shared.Contains(a):
		return true
	}
	return slices.ContainsFunc(links, func(p netip.Prefix) bool { return p.Contains(a) })
}

// report is what a report says of the exchange with neighbours; nil when there is none.
func (s *site) report(r *protocol.Report) {
	c := s.config
	if c.Mesh.Off {
		return
	}
	r.Mesh = &protocol.Mesh{Link: LinkOf(c), Site: c.Site}
	if s.near == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Mesh.Share = len(s.local) > 0
	for _, a := range s.local[:min(len(s.local), protocol.MaxAddresses)] {
		r.Mesh.Addresses = append(r.Mesh.Addresses, a.String())
	}
	r.Isolated = s.missing(toldFor)
}
