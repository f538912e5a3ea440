package discovery

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"pgregory.net/rapid"
)

func at(a byte, port int) place {
	return place{2, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, a}), uint16(port))}
}

func newTable() *table { return &table{all: map[netip.AddrPort]*neighbor{}, judged: true} }

// TestCrowd: one who claims to be thousands at his own addresses neither takes memory nor another's place.
func TestCrowd(t *testing.T) {
	for _, aliases := range []int{1, 20, 180} {
		table, now := newTable(), time.Now()
		for n := range 40 {
			table.hear(now, at(byte(10+n), 1000), fmt.Sprintf("%016x", n))
			table.judge(now, Verdict{at(byte(10+n), 1000).at, n < 20})
			table.judge(now, Verdict{at(byte(10+n), 1000).at, n < 20}) // others have failed, and are tried again
		}
		for n := range 20_000 {
			now = now.Add(100 * time.Microsecond)
			table.hear(now, at(byte(60+n%aliases), 1+n*7919%65535), fmt.Sprintf("%016x", 1000+n))
			if n == 10_000 {
				table.hear(now, at(250, 1000), self)
			}
			if n%500 == 0 {
				for _, a := range table.show(now) {
					if a.Addr().As4()[3] >= 60 && a.Addr().As4()[3] < 240 {
						table.judge(now, Verdict{a, false})
					}
				}
			}
		}
		if len(table.all) > maxNeighbors {
			t.Errorf("%d are remembered", len(table.all))
		}
		for n := range 40 {
			if table.all[at(byte(10+n), 1000).at] == nil {
				t.Errorf("%d addresses push out device %d", aliases, n)
			}
		}
		if table.all[at(250, 1000).at] == nil {
			t.Errorf("%d addresses push out who came later", aliases)
		}
	}
}

// TestOthersAddresses: nobody says goodbye for another.
func TestOthersAddresses(t *testing.T) {
	table, now := newTable(), time.Now()
	table.hear(now, at(1, 1000), self)
	table.hear(now, at(2, 1000), other)
	table.leave(now, at(2, 1000), self)
	table.leave(now, place{3, at(1, 1000).at}, self)
	if got := table.show(now.Add(time.Hour)); len(got) != 2 {
		t.Errorf("left: %v", got)
	}
	table.leave(now, at(1, 1000), self)
	if got := table.show(now.Add(byeTime)); !slices.Equal(got, []netip.AddrPort{at(2, 1000).at}) {
		t.Errorf("left: %v", got)
	}
	table.introduce(now, at(3, 1000).at)
	if got := table.show(now.Add(Forget - 1)); len(got) != 2 {
		t.Errorf("introduced: %v", got)
	}
	if got := table.show(now.Add(Forget)); len(got) != 1 {
		t.Errorf("introduced long ago: %v", got)
	}
}

// TestTable holds what is true of every table, whatever happens.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, now := newTable(), time.Now()
		links := map[int]network{2: wired(7)}
		good := map[netip.AddrPort]bool{}
		somewhere := rapid.Custom(func(t *rapid.T) place {
			return at(rapid.Byte().Draw(t, "host"), rapid.IntRange(1, 12).Draw(t, "port"))
		})
		name := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("%016x", rapid.IntRange(0, 400).Draw(t, "name")) })
		t.Repeat(map[string]func(*rapid.T){
			"hear": func(t *rapid.T) {
				for _, p := range rapid.SliceOfN(somewhere, 1, 100).Draw(t, "at") {
					table.hear(now, p, name.Draw(t, "name"))
				}
			},
			"leave": func(t *rapid.T) {
				p, n := somewhere.Draw(t, "at"), name.Draw(t, "name")
				table.leave(now, p, n)
				clear(good) // some may go by right from now on
			},
			"introduce": func(t *rapid.T) { table.introduce(now, somewhere.Draw(t, "at").at) },
			"judge": func(t *rapid.T) {
				v := Verdict{somewhere.Draw(t, "at").at, rapid.Bool().Draw(t, "good")}
				table.judge(now, v)
				if n := table.all[v.At]; n != nil && n.link != 0 && n.until.IsZero() {
					good[v.At] = v.Good
				}
			},
			"silence": func(*rapid.T) { table.silence(2, now, [families]bool{true, true}); clear(good) },
			"relink":  func(*rapid.T) { table.relink(now, links) },
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "s")) * time.Second)
			},
			"": func(t *rapid.T) {
				shown := table.show(now)
				if len(table.all) > maxNeighbors {
					t.Fatalf("%d are remembered", len(table.all))
				}
				strangers := 0
				for _, a := range shown {
					n := table.all[a]
					if now.Before(n.hidden) {
						t.Fatalf("%v is shown and has failed", a)
					}
					if !n.good {
						strangers++
					}
				}
				if strangers > maxStrangers {
					t.Fatalf("%d strangers are shown", strangers)
				}
				for a, is := range good {
					if is && !slices.Contains(shown, a) {
						t.Fatalf("%v is good and was pushed out", a)
					}
				}
				if next := table.next(now); !next.IsZero() && !next.After(now) {
					t.Fatal("it would look again at once, for ever")
				}
				if again := table.show(now); !slices.Equal(again, shown) {
					t.Fatal("it shows something else without a reason")
				}
			},
		})
	})
}

func TestLimits(t *testing.T) {
	s, now := sources{each: map[netip.Addr]*bucket{}}, time.Now()
	through := map[byte]int{}
	for n := range 100_000 { // ten seconds
		now = now.Add(100 * time.Microsecond)
		who := byte(1) // one is loud, another is not
		if n%2000 == 0 {
			who = 2
		}
		if s.allow(now, netip.AddrFrom4([4]byte{10, 0, 0, who}), false) {
			through[who]++
		}
	}
	if through[1] > sourceBurst+11*sourceRate || through[2] != 50 {
		t.Errorf("let through: %v", through)
	}
	total := 0
	for n := range 100_000 { // each packet from somewhere else
		now = now.Add(100 * time.Microsecond)
		if s.allow(now, netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), false) {
			total++
		}
	}
	if total > parseBurst+11*parseRate || len(s.each) > maxSources {
		t.Errorf("let through: %d, from %d remembered", total, len(s.each))
	}
	if !s.crowded() || s.crowded() {
		t.Error("it is not said, or more than once, that many say too much")
	}
}

// TestTalkative: who says a little too much now and then is not loud, however long that goes on; who says too much is.
func TestTalkative(t *testing.T) {
	s, now, who := sources{each: map[netip.Addr]*bucket{}}, time.Now(), netip.MustParseAddr("10.0.0.1")
	says := func(n int) (loud bool) {
		for range n {
			loud = !s.allow(now, who, false) && s.loud(who) || loud
		}
		return loud
	}
	for range 100 {
		now = now.Add(time.Minute)
		if says(sourceBurst + muteAfter/2) {
			t.Fatal("it is loud")
		}
	}
	if !says(muteAfter) {
		t.Error("a flood is not loud")
	}
}

// TestMutes runs the filter as the kernel does.
func TestMutes(t *testing.T) {
	for f, addresses := range [families][]string{
		{"10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.0.1"},
		{"fe80::1", "fe80::2", "fe80:0:1::1", "fe81::1", "fe80::1:0:0:1"},
	} {
		var attached []bpf.RawInstruction
		m := mutes{family: family(f), until: map[netip.Addr]time.Time{}, attach: func(p []bpf.RawInstruction) error {
			attached = p
			return nil
		}}
		drops := func(a netip.Addr) bool {
			program, ok := bpf.Disassemble(attached)
			if !ok {
				t.Fatal("an unknown instruction")
			}
			for i, p := range program {
				if l, ok := p.(bpf.LoadAbsolute); ok {
					l.Off -= networkHeader // where this machine has the packet begin
					program[i] = l
				}
			}
			vm, err := bpf.NewVM(program)
			if err != nil {
				t.Fatal(err)
			}
			header := make([]byte, 60)
			copy(header[[]int{12, 8}[f]:], a.AsSlice())
			n, err := vm.Run(header)
			if err != nil {
				t.Fatal(err)
			}
			return n == 0
		}
		now := time.Now()
		var all []netip.Addr
		for _, a := range addresses {
			all = append(all, netip.MustParseAddr(a))
		}
		m.add(now, all[0])
		m.add(now.Add(time.Second), all[2])
		for step, want := range [][]int{{0, 2}, {2}, {}} {
			next := m.expire(now.Add(time.Duration(step)*time.Second + time.Duration(min(step, 1))*(muteTime-time.Second)))
			if next.IsZero() != (len(want) == 0) {
				t.Errorf("next: %v", next)
			}
			for i, a := range all {
				if got := drops(a); got != slices.Contains(want, i) {
					t.Errorf("step %d: %s is dropped: %v", step, a, got)
				}
			}
		}
		for n := range 100 {
			m.add(now, netip.AddrFrom4([4]byte{10, 0, 9, byte(n)}))
		}
		if len(m.until) > maxMuted {
			t.Errorf("%d are muted", len(m.until))
		}
		m.attach = func([]bpf.RawInstruction) error { return errors.ErrUnsupported }
		clear(m.until)
		if m.add(now, all[0]); !m.expire(now).IsZero() {
			t.Error("it believes in a filter that is not there")
		}
	}
}

func TestOnLink(t *testing.T) {
	eth, lo := wired(7), network{prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}}
	lo.Name, lo.Flags = "lo", 1<<2 // net.FlagLoopback
	for _, c := range []struct {
		n    network
		ip   string
		want bool
	}{
		{eth, "10.0.0.9", true},
		{eth, "10.0.1.9", false},
		{eth, "8.8.8.8", false},
		{eth, "127.0.0.1", false},
		{eth, "224.0.0.251", false},
		{eth, "0.0.0.0", false},
		{eth, "fe80::9%eth0", true},
		{eth, "fe80::9%eth1", false},
		{eth, "2001:db8::1", false},
		{eth, "::1", false},
		{eth, "ff02::fb%eth0", false},
		{lo, "127.0.0.1", true},
		{lo, "127.0.0.9", true},
		{lo, "10.0.0.9", false},
	} {
		if got := c.n.onLink(netip.MustParseAddr(c.ip)); got != c.want {
			t.Errorf("%s on %s: %v", c.ip, c.n.Name, got)
		}
	}
	if eth.onLink(netip.Addr{}) {
		t.Error("no address is on the link")
	}
}
