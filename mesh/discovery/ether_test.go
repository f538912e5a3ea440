package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// ether is a link without a kernel, for virtual time.
type ether struct {
	mu   sync.Mutex
	all  []*mouth
	sent map[int]int // bytes, by device
	pass func(from, to int, f family) bool
}

type mouth struct {
	*ether
	device int
	family family
	from   netip.Addr
	in     chan sound
	flood  uint64
}

type sound struct {
	from netip.Addr
	b    []byte
}

func (m *mouth) send(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	frame := 14 + 8 + 20
	if m.family == v6 {
		frame += 20
	}
	m.sent[m.device] += frame + len(b)
	for _, o := range m.all {
		if o.family == m.family && m.pass(m.device, o.device, m.family) {
			o.in <- sound{m.from, b}
		}
	}
	return nil
}

func (m *mouth) listen(ctx context.Context, c *codec, deliver func(netip.Addr, message)) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-m.in:
			if got, ok := c.decode(s.b); ok {
				deliver(s.from, got)
			}
		}
	}
}

func (m *mouth) drops() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.flood
}

func (m *mouth) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = slices.DeleteFunc(m.all, func(o *mouth) bool { return o == m })
}

func newEther() *ether {
	return &ether{sent: map[int]int{}, pass: func(int, int, family) bool { return true }}
}

// lets decides which packets pass from now on.
func (e *ether) lets(pass func(from, to int, f family) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pass = pass
}

// spent returns the bytes sent since it was last asked, by all and by the one that sent most.
func (e *ether) spent() (total, most int) {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.sent {
		total, most = total+n, max(most, n)
	}
	clear(e.sent)
	return total, most
}

// player is a device in the ether.
type player struct {
	room   *room
	look   chan struct{}
	judged chan Verdict
	mu     sync.Mutex
	sees   []netip.AddrPort
	ctx    context.Context //nolint:containedctx // it is how a test ends it
	leave  context.CancelFunc
	links  chan map[string]network
	dies   bool // without a goodbye
	ended  sync.WaitGroup
}

func (e *ether) play(ctx context.Context, n int, judged bool) *player {
	net := wired(n)
	p := &player{look: make(chan struct{}, 1), links: make(chan map[string]network, 1)}
	o := Options{Fleet: "fleet", Port: 1000 + n, Look: p.look, Log: slog.New(slog.DiscardHandler)}
	if judged {
		p.judged = make(chan Verdict, 16)
		o.Judged = p.judged
	}
	p.room = newRoom(o, fmt.Sprintf("%016x", n), func(all []netip.AddrPort) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sees = all
	})
	p.room.open = func(_ context.Context, net network, f family) (voice, error) {
		m := &mouth{ether: e, device: n, family: f, from: net.prefixes[f].Addr(), in: make(chan sound, 10_000)}
		if f == v6 {
			m.from = m.from.WithZone(net.Name)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, m)
		return m, nil
	}
	p.ctx, p.leave = context.WithCancel(ctx)
	p.links <- map[string]network{net.key(): net}
	p.ended.Go(func() {
		_ = p.room.run(p.ctx, p.links)
		if p.dies {
			for _, l := range p.room.links {
				l.close()
			}
			p.room.links = nil
		}
		p.room.close()
	})
	return p
}

func (p *player) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sees)
}

// stage plays devices and lets a story happen to them in virtual time.
func stage(t *testing.T, devices int, judged bool, story func(e *ether, all []*player)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := newEther()
		var all []*player
		for n := range devices {
			all = append(all, e.play(t.Context(), n+1, judged))
		}
		story(e, all)
		for _, p := range all {
			p.leave()
		}
		for _, p := range all {
			p.ended.Wait()
		}
	})
}

// after lets time pass and checks how many neighbours devices see.
func after(t *testing.T, d time.Duration, want int, of ...*player) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	for i, p := range of {
		if got := p.count(); got != want {
			t.Errorf("after %s device %d of those sees %d neighbours, want %d: %v", d, i, got, want, p.sees)
		}
	}
}

// TestCost holds what the package comment promises of a site where nothing happens.
func TestCost(t *testing.T) {
	stage(t, 20, false, func(e *ether, all []*player) {
		after(t, time.Second, 19, all...)
		start, _ := e.spent()
		time.Sleep(24 * time.Hour)
		day, _ := e.spent()
		after(t, 30*24*time.Hour, 19, all...)
		total, most := e.spent()
		t.Logf("bytes on the LAN: first second %d, the day after %d, a month %d; sent by one device %d", start, day, total, most)
		if total > 1_100_000 || most > 60_000 {
			t.Errorf("%d bytes in a month, of them %d by one device", total, most)
		}
	})
}

func TestSimultaneousStart(t *testing.T) {
	stage(t, 60, false, func(e *ether, all []*player) {
		after(t, 250*time.Millisecond, 59, all...)
		time.Sleep(time.Minute)
		total, _ := e.spent()
		t.Logf("%d bytes in the first minute", total)
		if total > 60*60*150 { // each of sixty hears of all others for 150 bytes
			t.Errorf("%d bytes in the first minute", total)
		}
	})
}

func TestGoodbyeAndDeath(t *testing.T) {
	stage(t, 5, true, func(_ *ether, all []*player) {
		judge := func(by *player, good bool, of ...int) {
			for _, n := range of {
				by.judged <- Verdict{netip.AddrPortFrom(wired(n).prefixes[v4].Addr(), uint16(1000+n)), good}
			}
		}
		after(t, time.Second, 4, all...)
		judge(all[0], true, 2, 3, 4, 5)
		all[4].leave()
		after(t, 2*time.Second, 3, all[:4]...)
		all[3].dies = true
		all[3].leave()
		after(t, 2*time.Second, 3, all[0])
		all[0].look <- struct{}{}
		after(t, 13*time.Second, 2, all[:3]...) // what one asks tells all
		// One that is alive and does not answer the caller is tried at its other address, and then not shown for a while.
		at := func(f family) netip.AddrPort {
			ip := wired(2).prefixes[f].Addr()
			if f == v6 {
				ip = ip.WithZone("eth0")
			}
			return netip.AddrPortFrom(ip, 1002)
		}
		for _, f := range []family{v4, v6} {
			if !slices.Contains(all[0].sees, at(f)) {
				t.Fatalf("over %s: %v", f, all[0].sees)
			}
			all[0].judged <- Verdict{at(f), false}
			after(t, time.Second, 2-int(f), all[0])
		}
		after(t, firstHide, 2, all[0])
	})
}
