package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
)

// village is neighbours who keep quiet: everything comes from the origin, again and again while somebody else holds it.
type village struct {
	alone
	mu         sync.Mutex
	at         []netip.AddrPort
	answers    map[string]bool
	introduced []netip.AddrPort
	asked      []string
}

func newVillage(at ...string) *village {
	return &village{at: addrs(at...), answers: map[string]bool{}}
}

func addrs(list ...string) (out []netip.AddrPort) {
	for _, a := range list {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

func (v *village) Addresses() []netip.AddrPort { return v.at }

func (v *village) Introduce(at []netip.AddrPort) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(at) >= len(v.introduced) { // after a reboot nobody is known
		v.introduced = at
	}
}

func (v *village) Reaches(_ context.Context, device string, _ []netip.AddrPort) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, device)
	return v.answers[device]
}

func (v *village) Fetch(ctx context.Context, s Swarm, missing []firmware.Chunk, deliver func([]byte, firmware.ChunkID) error) error {
	left := slices.Clone(missing)
	for {
		var mu sync.Mutex
		_, err := s.Origin.Fetch(ctx, left, func(plain []byte, id firmware.ChunkID) error {
			mu.Lock()
			left = slices.DeleteFunc(left, func(c firmware.Chunk) bool { return c.ID == id })
			mu.Unlock()
			return deliver(plain, id)
		})
		if err == nil || len(left) == len(missing) {
			return err
		}
		missing = slices.Clone(left)
	}
}

// commits publishes a release for d-1 and waits until it is committed.
func (b *bench) commits(version string, image []byte) protocol.Report {
	b.t.Helper()
	b.cloud.Member("d-1", "all")
	b.cloud.Wish(b.cloud.Publish(version, 1, "qemu-arm64", image), nil)
	stop := b.start()
	defer stop()
	return b.cloud.Await("committed", reaches(protocol.Committed, version))
}

// What a holder has that cannot be reached comes from the server after all, and the report says so.
func TestIsolated(t *testing.T) {
	b := newBench(t, false)
	v := newVillage("127.0.0.1:4000")
	v.answers["d-4"] = true
	b.near = func(Sources) (Neighbors, error) { return v, nil }
	image := payload(1, 3<<20)
	var mu sync.Mutex
	asked := map[string]int{}
	b.cloud.Lease(func(device, what string, isolated []string) *protocol.Holder {
		mu.Lock()
		defer mu.Unlock()
		asked[what]++
		n := len(asked)
		for _, holder := range []string{"d-2", "d-3"} {
			if !slices.Contains(isolated, holder) {
				return &protocol.Holder{Device: holder, Addresses: addrs("127.0.0.1:4002", "8.8.8.8:53")}
			}
		}
		if n == 5 && asked[what] < 4 { // this one waits for a neighbour that answers, for a while
			return &protocol.Holder{Device: "d-4", Addresses: addrs("127.0.0.1:4004")}
		}
		return nil
	})
	r := b.commits("1.0.0", image)
	if d := cmp.Diff([]string{"d-2", "d-3"}, r.Isolated); d != "" {
		t.Error(d)
	}
	want := &protocol.Mesh{Share: true, Addresses: []string{"127.0.0.1:4000"}}
	if d := cmp.Diff(want, r.Mesh); d != "" {
		t.Error(d)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	count := map[string]int{}
	for _, d := range v.asked {
		count[d]++
	}
	if count["d-2"] != 1 || count["d-3"] != 1 {
		t.Errorf("each is greeted once for all chunks: %v", v.asked)
	}
	if d := cmp.Diff(addrs("127.0.0.1:4002", "127.0.0.1:4004"), v.introduced, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error("introduced:", d)
	}
}

// A server that always names somebody who is not there is asked without a lease in the end.
func TestHoldersWithoutEnd(t *testing.T) {
	b := newBench(t, false)
	v := newVillage("127.0.0.1:4000")
	b.near = func(Sources) (Neighbors, error) { return v, nil }
	n := 0
	var mu sync.Mutex
	b.cloud.Lease(func(string, string, []string) *protocol.Holder {
		mu.Lock()
		defer mu.Unlock()
		n++
		return &protocol.Holder{Device: fmt.Sprintf("ghost-%d", n)}
	})
	r := b.commits("1.0.0", payload(2, 200_000))
	if len(r.Isolated) < enough || len(r.Isolated) > protocol.MaxIsolated || n > 4*enough {
		t.Error(n, r.Isolated)
	}
}

// Both ways carry hints; an address that no LAN has goes nowhere.
func TestIntroduced(t *testing.T) {
	for _, withBroker := range []bool{false, true} {
		b := newBench(t, withBroker)
		v := newVillage("10.1.2.3:4000")
		b.near = func(Sources) (Neighbors, error) { return v, nil }
		b.cloud.Member("d-1", "all")
		peer := protocol.Peer{Device: "d-2", Addresses: []string{"10.1.2.4:4000", "10.1.2.3:4000", "8.8.8.8:53", "127.0.0.1:4000", "host:80", "[fd00::4]:4000"}}
		b.cloud.Introduce("d-1", peer)
		if withBroker {
			hint := `{"schema":1,"device":"d-1","site":"s","epoch":"1","peers":[{"device":"d-2","addresses":["10.1.2.4:4000","[fd00::4]:4000"]}]}`
			b.broker.Publish(protocol.SiteTopic("d-1"), []byte(hint))
		}
		stop := b.start()
		for end, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond); ; {
			v.mu.Lock()
			ok := slices.Equal(v.introduced, addrs("10.1.2.4:4000", "[fd00::4]:4000"))
			v.mu.Unlock()
			if ok {
				break
			}
			select {
			case <-end:
				t.Fatal("never introduced; by MQTT:", withBroker)
			case <-tick.C:
			}
		}
		stop()
	}
}

// Whom the server names no longer is greeted for a while yet.
func TestFormerNeighbours(t *testing.T) {
	v, now := newVillage("10.1.2.3:4000"), time.Now()
	s := &site{
		near: v, config: &Config{Device: "d-1"}, now: func() time.Time { return now }, log: slog.New(slog.DiscardHandler),
		local: v.at, former: map[string]former{}, holders: map[string]*holder{}, waits: map[string]time.Time{},
	}
	hears := func(epoch int, peers ...int) {
		t.Helper()
		hint := protocol.Site{Schema: 1, Device: "d-1", Epoch: fmt.Sprint(epoch)}
		for _, n := range peers {
			hint.Peers = append(hint.Peers, protocol.Peer{Device: fmt.Sprint("d-", n), Addresses: []string{fmt.Sprintf("10.0.%d.%d:1", n>>8, n&255)}})
		}
		b, err := json.Marshal(hint)
		if err != nil {
			t.Fatal(err)
		}
		v.introduced = nil
		s.hear(b)
	}
	wants := func(at ...string) {
		t.Helper()
		if !slices.Equal(v.introduced, addrs(at...)) {
			t.Errorf("introduced are %v", v.introduced)
		}
	}
	hears(1, 2, 3)
	wants("10.0.0.2:1", "10.0.0.3:1")
	hears(1, 2, 3)
	wants() // nothing new
	hears(2, 4)
	wants("10.0.0.4:1", "10.0.0.2:1", "10.0.0.3:1")
	now = now.Add(formerFor - time.Second)
	hears(3, 3)
	wants("10.0.0.3:1", "10.0.0.2:1", "10.0.0.4:1")
	now = now.Add(2 * time.Second)
	hears(4, 3, 5)
	wants("10.0.0.3:1", "10.0.0.5:1", "10.0.0.4:1")
	for n := range 1000 { // a site whose devices come and go all the time
		hears(10+n, 100+2*n, 101+2*n)
	}
	if len(s.former) > mostFormer {
		t.Error(len(s.former))
	}
}

func TestUnlisted(t *testing.T) {
	b := newBench(t, false)
	b.configure(func(c *Config) { c.Mesh.Unlisted, c.Mesh.Link, c.Site = true, protocol.LinkWifi, "oslo" })
	v := newVillage("127.0.0.1:4000")
	b.near = func(Sources) (Neighbors, error) { return v, nil }
	b.cloud.Introduce("d-1", protocol.Peer{Device: "d-2", Addresses: []string{"127.0.0.1:4002"}})
	b.cloud.Lease(func(string, string, []string) *protocol.Holder { return &protocol.Holder{Device: "d-2"} })
	r := b.commits("1.0.0", payload(3, 200_000))
	if d := cmp.Diff(&protocol.Mesh{Link: protocol.LinkWifi, Site: "oslo"}, r.Mesh); d != "" || len(v.introduced) > 0 {
		t.Error(v.introduced, d)
	}
}

func TestReachable(t *testing.T) {
	lan, loop := addrs("10.0.0.9:1"), addrs("127.0.0.1:1")
	links := []netip.Prefix{netip.MustParsePrefix("10.0.0.9/24"), netip.MustParsePrefix("2001:db8:1:2::9/64")}
	for _, c := range []struct {
		at    string
		local []netip.AddrPort
		want  bool
	}{
		{"10.0.0.5:1", lan, true},
		{"10.9.0.5:1", lan, true}, // another subnet of the site
		{"10.0.0.9:1", lan, false},
		{"10.0.0.9:2", lan, true},
		{"100.64.1.1:1", lan, true},
		{"[fd00::1]:1", lan, true},
		{"[2001:db8:1:2::5]:1", lan, true},
		{"[2001:db8:1:3::5]:1", lan, false},
		{"[fe80::1]:1", lan, false},
		{"8.8.8.8:53", lan, false},
		{"127.0.0.1:2", lan, false},
		{"127.0.0.1:2", loop, true},
		{"127.0.0.1:1", loop, false},
		{"10.0.0.5:0", lan, false},
		{"224.0.0.251:5353", lan, false},
		{"0.0.0.0:1", loop, false},
	} {
		if got := reachable(netip.MustParseAddrPort(c.at), c.local, links); got != c.want {
			t.Errorf("%s from %v: %v", c.at, c.local, got)
		}
	}
}

var _ Vicinity = (*village)(nil)
