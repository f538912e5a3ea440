package discovery

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	port     = 5353
	hopLimit = 255 // a router would have made it less
	readWait = 50 * time.Millisecond
)

// group returns the address to speak to.
func group(f family) netip.Addr {
	if f == v4 {
		return netip.AddrFrom4([4]byte{224, 0, 0, 251})
	}
	return netip.AddrFrom16([16]byte{0xff, 2, 15: 0xfb})
}

// socket speaks and listens on one link over one family.
type socket struct {
	conn    *net.UDPConn
	family  family
	link    network
	say     func([]byte) error
	arrival func(oob []byte) (arrival, error)
	mutes   mutes
	loud    func(netip.Addr)
	muting  atomic.Bool
	dropped atomic.Uint64 // packets that were not read, or read and not decoded, to bound the work
}

// arrival is how a packet came.
type arrival struct{ link, hops int }

// open joins the group on a link.
func open(ctx context.Context, n network, f family, loud func(netip.Addr)) (_ voice, err error) {
	s := &socket{family: f, link: n, loud: loud}
	if s.conn, err = listen(ctx, n, f); err != nil {
		return nil, err
	}
	if f == v4 {
		err = s.join4()
	} else {
		err = s.join6()
	}
	if err != nil {
		_ = s.conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) join4() error {
	p := ipv4.NewPacketConn(s.conn)
	s.mutes = mutes{family: v4, attach: p.SetBPF, until: map[netip.Addr]time.Time{}}
	to := &net.UDPAddr{IP: group(v4).AsSlice(), Port: port}
	s.say = func(b []byte) error {
		var errs []error
		for _, from := range s.link.sources() { // left to itself, the kernel may take another interface's address
			_, err := p.WriteTo(b, &ipv4.ControlMessage{Src: from.AsSlice(), IfIndex: s.link.Index}, to)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	s.arrival = func(oob []byte) (arrival, error) {
		var m ipv4.ControlMessage
		if err := m.Parse(oob); err != nil || !m.Dst.Equal(group(v4).AsSlice()) {
			return arrival{}, err
		}
		return arrival{m.IfIndex, m.TTL}, nil
	}
	return firstError(
		func() error { return p.JoinGroup(&s.link.Interface, &net.UDPAddr{IP: group(v4).AsSlice()}) },
		func() error { return p.SetMulticastInterface(&s.link.Interface) },
		func() error { return p.SetMulticastTTL(hopLimit) },
		func() error { return p.SetMulticastLoopback(true) }, // there may be other devices on this machine
		func() error { return p.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface|ipv4.FlagTTL, true) },
	)
}

func (s *socket) join6() error {
	p := ipv6.NewPacketConn(s.conn)
	s.mutes = mutes{family: v6, attach: p.SetBPF, until: map[netip.Addr]time.Time{}}
	to := netip.AddrPortFrom(group(v6).WithZone(s.link.Name), port)
	s.say = func(b []byte) error {
		_, err := s.conn.WriteToUDPAddrPort(b, to)
		return err
	}
	s.arrival = func(oob []byte) (arrival, error) {
		var m ipv6.ControlMessage
		if err := m.Parse(oob); err != nil || !m.Dst.Equal(group(v6).AsSlice()) {
			return arrival{}, err
		}
		return arrival{m.IfIndex, m.HopLimit}, nil
	}
	return firstError(
		func() error { return p.JoinGroup(&s.link.Interface, &net.UDPAddr{IP: group(v6).AsSlice()}) },
		func() error { return p.SetMulticastInterface(&s.link.Interface) },
		func() error { return p.SetMulticastHopLimit(hopLimit) },
		func() error { return p.SetMulticastLoopback(true) },
		func() error { return p.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface|ipv6.FlagHopLimit, true) },
	)
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *socket) send(b []byte) error { return s.say(b) }

func (s *socket) drops() uint64 {
	if s.muting.Load() {
		s.dropped.Add(1) // nobody counts what the kernel drops
	}
	return s.dropped.Load()
}

func (s *socket) close() { _ = s.conn.Close() }

// listen hands over what concerns this device until the socket is closed.
func (s *socket) listen(ctx context.Context, c *codec, deliver func(netip.Addr, message)) {
	buffer, oob := make([]byte, maxMessage+1), make([]byte, 256)
	var reads bucket
	who := sources{each: map[netip.Addr]*bucket{}}
	for ctx.Err() == nil {
		now := time.Now()
		if s.muting.Load() {
			next := s.mutes.expire(now)
			s.muting.Store(!next.IsZero())
			_ = s.conn.SetReadDeadline(next) // or it is closed
		}
		if !reads.allow(now, readRate, readBurst) {
			s.dropped.Add(1)
			pause(ctx, readWait)
			continue
		}
		n, oobn, _, from, err := s.conn.ReadMsgUDPAddrPort(buffer, oob)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			pause(ctx, time.Second) // closed, or the link has a fault
			continue
		}
		if !c.concerns(buffer[:n]) {
			continue
		}
		a, err := s.arrival(oob[:oobn])
		if err != nil || a.link != s.link.Index {
			continue
		}
		addr := from.Addr().Unmap()
		if !who.allow(now, addr, s.link.loopback()) {
			s.dropped.Add(1)
			if who.loud(addr) {
				s.mutes.add(now, addr)
				s.muting.Store(true)
				s.loud(addr)
			} else if who.crowded() {
				s.loud(group(s.family))
			}
			continue
		}
		m, ok := c.decode(buffer[:n])
		// Anybody may ask, with any program. Who says where a device is must be there.
		if ok && (m.instance == "" || from.Port() == port && a.hops == hopLimit && s.link.onLink(addr)) {
			deliver(addr, m)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
