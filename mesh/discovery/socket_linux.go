package discovery

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// listen opens a socket of a link. It is bound to the group, not to all addresses, so that it neither hears what was sent to
// this machine alone nor takes that from another program on the same port; and to the link, so that each link's flood fills
// its own buffer.
func listen(_ context.Context, n network, f family) (*net.UDPConn, error) {
	domain := unix.AF_INET
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: port, Addr: group(v4).As4()}
	if f == v6 {
		domain = unix.AF_INET6
		to = &unix.SockaddrInet6{Port: port, Addr: group(v6).As16(), ZoneId: uint32(n.Index)}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "mdns")
	defer file.Close() // the connection has a copy
	err = firstError(
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) },
		func() error {
			if f == v6 {
				return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
			}
			return nil
		},
		func() error {
			_ = unix.BindToDevice(fd, n.Name) // old kernels ask for a privilege; what other links bring is ignored then
			return unix.Bind(fd, to)
		},
	)
	if err != nil {
		return nil, fmt.Errorf("port %d over %s on %s: %w", port, f, n.Name, err)
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}
