package site

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// LabelKey is the label that names a device's site.
const LabelKey = "site"

// maxDevices at one site: more of them are behind a load balancer, or carry a label that means something else.
const maxDevices = 4096

// Mode says how sites are told apart.
type Mode string

// The modes there are.
const (
	Auto    Mode = "auto"  // by label, else by configuration, else by address
	ByLabel Mode = "label" // by label, else by configuration: the server does not see the devices' addresses
	Off     Mode = "off"   // no sites: no hints and no leases
)

// Fleet is what sites need to know of devices.
type Fleet interface {
	Views(ctx context.Context, q fleet.Query) (items []fleet.View, total int, revision int64)
	View(ctx context.Context, id string) (fleet.View, error)
	Subscribe() *fleet.Feed
	SubscribePresence() *fleet.Feed
}

// Publisher publishes retained messages; an empty payload removes the message of a topic.
type Publisher interface {
	Publish(ctx context.Context, topic string, payload []byte) error
}

// Options of [New].
type Options struct {
	Fleet Fleet
	Mode  Mode             // empty: Auto
	Now   func() time.Time // nil: time.Now
	Log   *slog.Logger
}

// Sites is the sites of a fleet. It is safe for concurrent use.
type Sites struct {
	o      Options
	leases *leases
	wake   chan struct{} // something is dirty; buffer of one
	again  chan struct{} // all hints are to be published anew; buffer of one
	held   atomic.Int64

	mu      sync.RWMutex
	remotes map[string]remote
	members map[string]*member
	sites   map[string]map[string]*member // site → device
	moved   map[string]struct{}           // devices that are to be looked at again
	dirty   map[string]struct{}           // sites whose hints are to be made again
	hints   map[string]*hint              // device → what it was told last
	large   map[string]bool               // sites of more than maxDevices
	bases   map[string]base               // device → from which version its last update set out
}

// remote is whence a device speaks.
type remote struct {
	broker netip.Addr // its connection to the broker, which lasts; the zero one if there was none
	plane  netip.Addr // its last request
}

// member is a device at a site.
type member struct {
	device    string
	site      string
	seen      netip.Addr
	online    bool
	left      time.Time // when it was no longer online; zero: not since the server started
	share     bool
	depot     bool // it stocks releases
	addresses []netip.AddrPort
}

// active reports whether a device takes part in its site now.
func (m *member) active() bool { return m.online && m.share && m.site != "" }

// listed reports whether others are told of a device: for a while also when it is away, as most come back from a reboot, and
// for how long then.
func (m *member) listed(now time.Time) (yes bool, until time.Duration) {
	switch {
	case m.active():
		return true, 0
	case !m.share || m.site == "" || m.left.IsZero():
		return false, 0
	}
	until = m.left.Add(awayFor).Sub(now)
	return until > 0, max(until, 0)
}

func (m *member) same(o *member) bool {
	return m.site == o.site && m.seen == o.seen && m.online == o.online && m.share == o.share && m.depot == o.depot && slices.Equal(m.addresses, o.addresses)
}

// New returns sites that know nobody until they run.
func New(o Options) *Sites {
	if o.Mode == "" {
		o.Mode = Auto
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Sites{
		o: o, leases: newLeases(), wake: make(chan struct{}, 1), again: make(chan struct{}, 1),
		remotes: map[string]remote{}, members: map[string]*member{}, sites: map[string]map[string]*member{},
		moved: map[string]struct{}{}, dirty: map[string]struct{}{}, hints: map[string]*hint{},
		large: map[string]bool{}, bases: map[string]base{},
	}
}

// Run follows the fleet and publishes hints until ctx ends.
func (s *Sites) Run(ctx context.Context, to Publisher) error {
	if s.o.Mode == Off {
		<-ctx.Done()
		return nil
	}
	changed, presence := s.o.Fleet.Subscribe(), s.o.Fleet.SubscribePresence()
	defer changed.Close()
	defer presence.Close()
	views, _, _ := s.o.Fleet.Views(ctx, fleet.Query{})
	for i := range views {
		s.update(&views[i])
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, feed := range []*fleet.Feed{changed, presence} {
		g.Go(func() error {
			for {
				ids, err := feed.Next(ctx)
				if err != nil {
					return err
				}
				s.look(ctx, ids)
			}
		})
	}
	g.Go(func() error { return s.publish(ctx, to) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Seen notes whence a device speaks: remote is the other end of its connection to the broker, or of a request. The broker's
// counts while there is one, as it lasts; a device with several addresses would seem to jump otherwise.
func (s *Sites) Seen(device, remoteEnd string, broker bool) {
	a := seenAs(remoteEnd)
	if !a.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.remotes[device]
	before := r.address()
	if broker {
		r.broker = a
	} else {
		r.plane = a
	}
	s.remotes[device] = r
	if r.address() != before {
		s.moved[device] = struct{}{}
		nudge(s.wake)
	}
}

func (r remote) address() netip.Addr {
	if r.broker.IsValid() {
		return r.broker
	}
	return r.plane
}

// Republish publishes all hints anew, soon. Call it when the broker may have lost its messages.
func (s *Sites) Republish() { nudge(s.again) }

// look takes the newest state of devices.
func (s *Sites) look(ctx context.Context, ids []string) {
	for _, id := range ids {
		if v, err := s.o.Fleet.View(ctx, id); err == nil {
			s.update(&v)
		}
	}
}

// memberOf is what a device says of itself and is seen as. A lock is held.
func (s *Sites) memberOf(v *fleet.View) (m *member, name string) {
	m = &member{device: v.ID, online: v.Presence.Online, seen: s.remotes[v.ID].address()}
	if !m.seen.IsValid() {
		m.seen = seenAs(v.State.Address) // from before the server started
	}
	if v.Admission != fleet.Accepted {
		return m, ""
	}
	configured := ""
	if said := v.State.Report.Mesh; said != nil {
		configured, m.share, m.addresses = said.Site, said.Share, protocol.ParseAddresses(said.Addresses)
		m.depot = said.Depot != nil
	}
	m.site, name = identify(v.Labels[LabelKey], configured, m.seen, s.o.Mode)
	return m, name
}

// update takes the state of a device. One that goes loses its leases.
func (s *Sites) update(v *fleet.View) {
	s.mu.Lock()
	s.note(v)
	m, _ := s.memberOf(v)
	old := s.members[m.device]
	if old != nil && m.same(old) {
		s.mu.Unlock()
		return
	}
	if old != nil && !m.online {
		if m.left = old.left; old.online {
			m.left = s.o.Now()
		}
	}
	s.members[m.device] = m
	if old != nil && old.site != m.site {
		s.leave(old)
	}
	if m.site != "" {
		if s.sites[m.site] == nil {
			s.sites[m.site] = map[string]*member{}
		}
		s.sites[m.site][m.device] = m
		s.dirty[m.site] = struct{}{}
		nudge(s.wake)
	}
	gone := old != nil && old.active() && (!m.active() || m.site != old.site)
	s.mu.Unlock()
	if gone {
		s.leases.drop(m.device)
	}
}

// leave takes a device out of its site. The lock is held.
func (s *Sites) leave(m *member) {
	if m.site == "" {
		return
	}
	delete(s.sites[m.site], m.device)
	if len(s.sites[m.site]) == 0 {
		delete(s.sites, m.site)
	}
	s.dirty[m.site] = struct{}{}
	nudge(s.wake)
}

// Lease asks for a lease on bytes of the repository. It is nil for a device without a site, or that is alone there, or among
// too many to be at one place. The error
// is a [HeldError].
func (s *Sites) Lease(device string, q Request) (*Lease, error) {
	if s.o.Mode == Off {
		return nil, nil
	}
	site := s.siteWithOthers(device)
	if site == "" {
		return nil, nil
	}
	lease, err := s.leases.take(site, device, q, s.active, s.o.Now())
	if err != nil {
		s.held.Add(1)
	}
	return lease, err
}

// Held returns how many requests were left to another device of the site so far.
func (s *Sites) Held() int64 { return s.held.Load() }

// Isolated returns how many devices could not reach another one of their site lately.
func (s *Sites) Isolated(ctx context.Context) (n int) {
	s.each(ctx, func(_ *member, _ string, v *fleet.View) {
		if len(v.State.Report.Isolated) > 0 {
			n++
		}
	})
	return n
}

func (s *Sites) siteWithOthers(device string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := s.members[device]
	if m == nil || !m.active() {
		return ""
	}
	if len(s.sites[m.site]) > maxDevices {
		return ""
	}
	for _, o := range s.sites[m.site] {
		if o != m && o.active() {
			return m.site
		}
	}
	return ""
}

func (s *Sites) active(device string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := s.members[device]
	return m != nil && m.active()
}

// Holder returns how a holder is named to a device: with the addresses that it may use.
func (s *Sites) Holder(holder, reader string) protocol.Holder {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := protocol.Holder{Device: holder}
	if m, r := s.members[holder], s.members[reader]; m != nil && r != nil {
		h.Addresses = m.usableBy(r)
	}
	return h
}

// usableBy returns the addresses of a device that another one is told.
func (m *member) usableBy(reader *member) (out []netip.AddrPort) {
	for _, a := range m.addresses {
		if usable(a, m.seen, reader.seen) {
			out = append(out, a)
		}
	}
	return out
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
