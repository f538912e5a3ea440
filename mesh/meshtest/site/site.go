package site

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
)

// Where things are.
const (
	CloudAddr = "10.99.0.2" // the cloud, as the site sees it
	Interface = "eth0"      // of every device

	routerAddr = "10.99.0.1" // the hub, as the cloud sees it: the site's one public address with Options.NAT
	maxOnLAN   = 250         // devices of one subnet
)

// Options configure New.
type Options struct {
	Rate    string // of the uplink in each direction, as tc writes it: 20mbit; empty: unbounded
	LANRate string // of each device's port, in each direction; empty: unbounded
	Subnets int    // LANs between which only the router leads; 0: one
	// NoMulticast lets switches carry multicast to no device, as many wireless ones do. Broadcast, and so ARP, still works;
	// IPv6 does not, as it finds neighbours by multicast.
	NoMulticast bool
	// Isolated lets devices reach the router and nobody else, as guest networks do.
	Isolated bool
	// NAT hides the site behind one address of the router, as most do.
	NAT bool
}

// Site is a LAN, its router and the cloud.
type Site struct {
	Cloud *Namespace

	o      Options
	thread *thread
	hub    *Namespace

	mu      sync.Mutex
	all     []*Namespace
	devices []*Device
}

// Device is one machine on the LAN.
type Device struct {
	*Namespace
	Addr netip.Addr // IPv4
	port string     // of the switch

	subnet, host int
}

// New makes a site without devices. Close removes it.
func New(ctx context.Context, o Options) (*Site, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("a site is made of network namespaces, and those need root")
	}
	o.Subnets = max(o.Subnets, 1)
	s := &Site{o: o, thread: newThread()}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("site: %w", err), s.Close())
	}
	return s, nil
}

func (s *Site) build(ctx context.Context) (err error) {
	if s.hub, err = s.namespace("hub"); err != nil {
		return err
	}
	if s.Cloud, err = s.namespace("cloud"); err != nil {
		return err
	}
	lines := []string{
		"link set lo up",
		"link add wan type veth peer name eth0 netns " + s.Cloud.path(),
		// One packet is one packet: otherwise many travel as one with one header, and what is counted is too little.
		"link set wan gso_max_segs 1 up",
		"addr add " + routerAddr + "/30 dev wan",
	}
	for n := range s.o.Subnets {
		lines = append(
			lines, fmt.Sprintf("link add %s type bridge forward_delay 0 mcast_querier 0", lan(n)), fmt.Sprintf("link set %s up", lan(n)),
			fmt.Sprintf("addr add 10.77.%d.254/24 dev %s", n, lan(n)), fmt.Sprintf("addr add fd77:0:0:%x::fe/64 dev %s nodad", n, lan(n)),
		)
	}
	if err := s.hub.configure(ctx, map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"}, lines...); err != nil {
		return err
	}
	if err := s.Cloud.configure(
		ctx, nil, "link set lo up", "link set eth0 gso_max_segs 1 up", "addr add "+CloudAddr+"/30 dev eth0",
		"route add 10.77.0.0/16 via "+routerAddr,
	); err != nil {
		return err
	}
	if s.o.NAT {
		const rules = "add table ip site\n" +
			"add chain ip site out { type nat hook postrouting priority srcnat; }\n" +
			"add rule ip site out oifname wan masquerade\n"
		if err := s.hub.feed(ctx, rules, "nft", "-f", "-"); err != nil {
			return err
		}
	}
	if s.o.Rate == "" {
		return nil
	}
	return errors.Join(shape(ctx, s.Cloud, "eth0", s.o.Rate), shape(ctx, s.hub, "wan", s.o.Rate))
}

// shape gives what leaves by an interface a rate, behind a queue of a tenth of a second.
func shape(ctx context.Context, n *Namespace, name, rate string) error {
	return n.feed(ctx, fmt.Sprintf("qdisc add dev %s root tbf rate %s burst 32kb latency 100ms\n", name, rate), "tc", "-batch", "-")
}

func lan(n int) string {
	if n == 0 {
		return "lan"
	}
	return fmt.Sprintf("lan%d", n+1)
}

// Plug adds devices to the LAN, to the subnets in turn.
func (s *Site) Plug(ctx context.Context, n int) ([]*Device, error) {
	var added []*Device
	for range n {
		d, err := s.plug(ctx)
		if err != nil {
			return added, fmt.Errorf("site: %w", err)
		}
		added = append(added, d)
	}
	return added, s.acquaint(ctx)
}

func (s *Site) plug(ctx context.Context) (*Device, error) {
	s.mu.Lock()
	i := len(s.devices)
	s.mu.Unlock()
	subnet, host := i%s.o.Subnets, i/s.o.Subnets+1
	if host > maxOnLAN {
		return nil, fmt.Errorf("a subnet holds %d devices", maxOnLAN)
	}
	n, err := s.namespace(fmt.Sprintf("device %d", i))
	if err != nil {
		return nil, err
	}
	d := &Device{
		Namespace: n, Addr: netip.AddrFrom4([4]byte{10, 77, byte(subnet), byte(host)}),
		port: fmt.Sprintf("port%d", i), subnet: subnet, host: host,
	}
	if err := s.hub.configure(
		ctx, nil,
		fmt.Sprintf("link add %s type veth peer name %s address %s netns %s", d.port, Interface, d.mac(), n.path()),
		fmt.Sprintf("link set %s master %s up", d.port, lan(subnet)),
		fmt.Sprintf("link set %s type bridge_slave mcast_flood %s isolated %s", d.port, onOff(!s.o.NoMulticast), onOff(s.o.Isolated)),
	); err != nil {
		return nil, err
	}
	if err := n.configure(
		ctx, nil, "link set lo up",
		fmt.Sprintf("addr add %s/24 dev %s", d.Addr, Interface),
		fmt.Sprintf("addr add %s/64 dev %s nodad", d.local(), Interface),
		"link set "+Interface+" up",
		fmt.Sprintf("route add default via 10.77.%d.254", subnet),
		fmt.Sprintf("route add ::/0 via fd77:0:0:%x::fe", subnet),
	); err != nil {
		return nil, err
	}
	if s.o.LANRate != "" {
		if err := errors.Join(shape(ctx, s.hub, d.port, s.o.LANRate), shape(ctx, n, Interface, s.o.LANRate)); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices = append(s.devices, d)
	return d, nil
}

// mac is the address of the device's interface, from which follows the one that IPv6 gives it by itself.
func (d *Device) mac() string { return fmt.Sprintf("02:77:00:00:%02x:%02x", d.subnet, d.host) }

func (d *Device) linkLocal() string { return fmt.Sprintf("fe80::77:ff:fe00:%x", d.subnet<<8|d.host) }
func (d *Device) local() string     { return fmt.Sprintf("fd77:0:0:%x::%x", d.subnet, d.host) }

// acquaint tells every device the hardware addresses of the others on its subnet. Machines would ask for them, and keep
// the answers; namespaces of one kernel share one table for that, which overflows with thirty devices. What is told does
// not count in it.
func (s *Site) acquaint(ctx context.Context) error {
	if s.o.Isolated {
		return nil
	}
	s.mu.Lock()
	all := slices.Clone(s.devices)
	s.mu.Unlock()
	for _, d := range all {
		var lines []string
		for _, o := range all {
			if o == d || o.subnet != d.subnet {
				continue
			}
			addrs := []string{o.Addr.String()}
			if !s.o.NoMulticast {
				addrs = append(addrs, o.local(), o.linkLocal())
			}
			for _, a := range addrs {
				lines = append(lines, fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent", a, o.mac(), Interface))
			}
		}
		if err := d.configure(ctx, nil, lines...); err != nil {
			return err
		}
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// Counters are what the hub's interfaces have carried, all of one moment. In is towards the site or the device.
type Counters struct {
	Uplink  Traffic
	Devices []Traffic // in the order in which they were plugged in; to and from neighbours and the cloud
}

// Counters reads the counters of the uplink and of every device's port.
func (s *Site) Counters() (Counters, error) {
	all, err := s.hub.Traffic()
	if err != nil {
		return Counters{}, err
	}
	c := Counters{Uplink: all["wan"]}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		t := all[d.port]
		c.Devices = append(c.Devices, Traffic{In: t.Out, Out: t.In}) // the other end of the cable
	}
	return c, nil
}

// Minus returns what was carried since earlier.
func (c Counters) Minus(earlier Counters) Counters {
	out := Counters{Uplink: c.Uplink.minus(earlier.Uplink)}
	for i, d := range c.Devices {
		if i < len(earlier.Devices) {
			d = d.minus(earlier.Devices[i])
		}
		out.Devices = append(out.Devices, d)
	}
	return out
}

func (t Traffic) minus(o Traffic) Traffic { return Traffic{In: t.In - o.In, Out: t.Out - o.Out} }

// Close ends every program in the site and removes it.
func (s *Site) Close() error {
	s.thread.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, n := range s.all {
		errs = append(errs, n.file.Close())
	}
	s.all = nil
	return errors.Join(errs...)
}

func (s *Site) namespace(name string) (*Namespace, error) {
	file, err := s.thread.make()
	if err != nil {
		return nil, err
	}
	n := &Namespace{Name: name, thread: s.thread, file: file}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, n)
	return n, nil
}

// path names the namespace to other programs, while this process lives.
func (n *Namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }
