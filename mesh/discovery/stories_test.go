package discovery_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// stories are what happens to sites. A device's addresses end in its number + 1; so does that of its cable.
func stories() map[string]func(*site) error {
	return map[string]func(*site) error{
		"IPv4, some without a way out": func(s *site) error { return meet(s, only4, 3) },
		"IPv6 only":                    func(s *site) error { return meet(s, only6, 3) },
		"IPv6 switched off":            func(s *site) error { return meet(s, off6, 2) },
		"both":                         func(s *site) error { return meet(s, both, 3) },
		"neighbours of either kind":    mixed,
		"a cable that comes later":     later,
		"an address that changes":      renumbered,
		"a goodbye, and a death":       partings,
		"a flood":                      flooded,
	}
}

// kind is how a device is configured.
type kind int

const (
	only4 kind = iota
	only6
	off6
	both
)

// configure makes a cable work. No two devices have a default route, and mostly none has.
func configure(s *site, d *plugged, k kind) error {
	// More interfaces that are down, as devices have: they must not disturb.
	commands := []string{"link set lo up", "link add eth1 type veth peer name eth2"}
	switch k {
	case only4:
		commands = append(commands, "sysctl net/ipv6/conf/eth0/disable_ipv6=1")
	case off6:
		commands = append(commands, "sysctl net/ipv6/conf/all/disable_ipv6=1")
	}
	commands = append(commands, fmt.Sprintf("link set eth0 address 02:00:00:00:00:%02x", d.n+1), "link set eth0 up")
	if k != only6 {
		commands = append(commands, fmt.Sprintf("addr add 10.77.0.%d/24 dev eth0", d.n+1))
		if d.n == 1 {
			commands = append(commands, "route add default via 10.77.0.254")
		}
	}
	return s.do(d, commands...)
}

// of returns the address of a device.
func of(d *plugged, k kind) string {
	if k == only6 {
		return fmt.Sprintf("[fe80::ff:fe00:%x%%eth0]:%d", d.n+1, ports+d.n)
	}
	return fmt.Sprintf("10.77.0.%d:%d", d.n+1, ports+d.n)
}

// begin starts, plugs and configures a device and lets it look for others.
func begin(s *site, k kind) (*plugged, error) {
	d, err := s.start("device")
	if err != nil {
		return nil, err
	}
	if err := s.plug(d); err != nil {
		return nil, err
	}
	if err := configure(s, d, k); err != nil {
		return nil, err
	}
	return d, s.do(d, "begin")
}

// everybody waits until all see all others, at addresses of a kind.
func everybody(s *site, k kind, all ...*plugged) error {
	want := map[*plugged][]string{}
	for _, d := range all {
		for _, o := range all {
			if o != d {
				want[d] = append(want[d], of(o, k))
			}
		}
	}
	return s.see(want)
}

func meet(s *site, k kind, devices int) error {
	for range devices {
		if _, err := begin(s, k); err != nil {
			return err
		}
	}
	return everybody(s, k, s.devices...)
}

// mixed: one that speaks both meets one that speaks IPv4 and one that speaks IPv6, and these do not see each other.
func mixed(s *site) error {
	a, err1 := begin(s, both)
	b, err2 := begin(s, only4)
	c, err3 := begin(s, only6)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	return s.see(map[*plugged][]string{a: {of(b, only4), of(c, only6)}, b: {of(a, only4)}, c: {of(a, only6)}})
}

// later: the cable is plugged in while the device looks for others, and the interface is not even there before.
func later(s *site) error {
	a, err := begin(s, both)
	if err != nil {
		return err
	}
	b, err := s.start("device")
	if err != nil {
		return err
	}
	if err := s.do(b, "begin"); err != nil {
		return err
	}
	if err := s.plug(b); err != nil {
		return err
	}
	if err := configure(s, b, both); err != nil {
		return err
	}
	if err := everybody(s, both, a, b); err != nil {
		return err
	}
	// And it is taken away, for good, and comes back.
	if err := ip(fmt.Sprintf("link del v%d", b.n)); err != nil {
		return err
	}
	if err := s.see(map[*plugged][]string{b: nil}); err != nil {
		return err
	}
	if err := s.plug(b); err != nil {
		return err
	}
	if err := s.do(b, fmt.Sprintf("link set eth0 address 02:00:00:00:00:%02x", b.n+1), fmt.Sprintf("addr add 10.77.0.%d/24 dev eth0", b.n+1),
		"link set eth0 up"); err != nil {
		return err
	}
	return everybody(s, both, a, b)
}

func renumbered(s *site) error {
	if err := meet(s, only4, 3); err != nil {
		return err
	}
	a, b, c := s.devices[0], s.devices[1], s.devices[2]
	if err := s.do(a, "addr del 10.77.0.1/24 dev eth0", "addr add 10.77.0.100/24 dev eth0"); err != nil {
		return err
	}
	there := fmt.Sprintf("10.77.0.100:%d", ports)
	return s.see(map[*plugged][]string{
		a: {of(b, only4), of(c, only4)}, b: {there, of(c, only4)}, c: {there, of(b, only4)},
	})
}

func partings(s *site) error {
	if err := meet(s, both, 4); err != nil {
		return err
	}
	a, b, c, d := s.devices[0], s.devices[1], s.devices[2], s.devices[3]
	if err := s.do(d, "leave"); err != nil {
		return err
	}
	if err := everybody(s, both, a, b, c); err != nil {
		return err
	}
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	if err := s.do(a, "ask"); err != nil { // as it does when an update begins
		return err
	}
	return everybody(s, both, a, b)
}

// flooded: somebody speaks up twenty thousand times a second, as very many devices, before the first and while others come.
func flooded(s *site) error {
	f, err := s.start("flood")
	if err != nil {
		return err
	}
	if err := s.plug(f); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f.stdin, "go"); err != nil {
		return err
	}
	if err := s.until("the flood", func(r report) bool { return r.N == f.n && r.Done }); err != nil {
		return err
	}
	var all []*plugged
	for i := range 4 {
		if i == 3 { // the last one comes when the others have stood it for a while
			if err := s.until("much of the flood", func(r report) bool { return r.N == f.n && r.Stats.Packets >= 80_000 }); err != nil {
				return err
			}
		}
		d, err := begin(s, both)
		if err != nil {
			return err
		}
		all = append(all, d)
		if err := s.until("all to see each other", func(report) bool { return acquainted(all) }); err != nil {
			return err
		}
	}
	fmt.Printf("the flood: %.0f packets a second\n", float64(f.stats.Packets)/f.stats.Wall.Seconds())
	for _, d := range all {
		if err := s.do(d, "stats"); err != nil {
			return err
		}
		fmt.Printf("device %d: peak of %d KB, %.0f %% of a processor; too loud: %s\n", d.n, d.stats.PeakKB, 100*d.stats.CPU.Seconds()/d.stats.Wall.Seconds(), d.stats.Loud)
		if d.stats.PeakKB > 64<<10 {
			return fmt.Errorf("device %d has taken %d KB", d.n, d.stats.PeakKB)
		}
		for _, who := range strings.Fields(d.stats.Loud) {
			if flooder := "10.77.0.200"; who != flooder && !strings.HasPrefix(who, "fe80::") {
				return fmt.Errorf("device %d blames %s for what %s does", d.n, who, flooder)
			}
		}
		if d == all[0] && d.stats.Loud == "" {
			return errors.New("nobody is blamed for the flood")
		}
	}
	return nil
}

// acquainted reports whether all see each other, over IPv4 or IPv6.
func acquainted(all []*plugged) bool {
	for _, d := range all {
		seen := map[uint16]bool{}
		for _, at := range d.sees {
			seen[at.Port()] = true
		}
		for _, o := range all {
			if o != d && !seen[uint16(ports+o.n)] {
				return false
			}
		}
	}
	return true
}

// flood announces another device with each packet, 10,000 times a second over IPv4 and as often over IPv6.
func flood(ctx context.Context) error {
	line := make([]byte, 256)
	if _, err := os.Stdin.Read(line); err != nil {
		return err
	}
	if err := ip("link set lo up", "link set eth0 up", "addr add 10.77.0.200/24 dev eth0"); err != nil {
		return err
	}
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	c4, err := new(net.ListenConfig).ListenPacket(ctx, "udp4", ":5353")
	if err != nil {
		return err
	}
	c6, err := new(net.ListenConfig).ListenPacket(ctx, "udp6", ":5353")
	if err != nil {
		return err
	}
	p4, p6 := ipv4.NewPacketConn(c4), ipv6.NewPacketConn(c6)
	if err := errors.Join(p4.SetMulticastInterface(eth0), p4.SetMulticastTTL(255), p6.SetMulticastInterface(eth0), p6.SetMulticastHopLimit(255)); err != nil {
		return err
	}
	send := func(n int, b []byte) error {
		if n%2 == 0 {
			_, err = p4.WriteTo(b, nil, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
		} else {
			_, err = p6.WriteTo(b, nil, &net.UDPAddr{IP: net.ParseIP("ff02::fb"), Zone: "eth0", Port: 5353})
		}
		return err
	}
	var packets [][]byte
	for i := range 1000 {
		var name [8]byte
		_, _ = rand.Read(name[:]) // never fails
		zone, err := mdns.NewMDNSService(hex.EncodeToString(name[:]), "_waxwing._tcp", "local.", "x.local.", 1000+i,
			[]net.IP{net.IPv4(10, 77, 0, 200)}, []string{"v=1", "fleet=namespaces"})
		if err != nil {
			return err
		}
		m := dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
		m.Answer = zone.Records(dns.Question{Name: "_waxwing._tcp.local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET})
		b, err := m.Pack()
		if err != nil {
			return err
		}
		packets = append(packets, b)
	}
	fmt.Println(`{"N":0,"Done":true}`)
	began, sent := time.Now(), 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			for want := int(time.Since(began).Seconds() * 20_000); sent < want; sent++ {
				err := send(sent, packets[sent%len(packets)])
				if err != nil && !errors.Is(err, syscall.ENOBUFS) && !errors.Is(err, syscall.EADDRNOTAVAIL) { // not yet
					return err
				}
				if sent%10_000 == 0 {
					fmt.Printf(`{"N":0,"Stats":{"Packets":%d,"Wall":%d}}`+"\n", sent, time.Since(began))
				}
			}
		}
	}
}
