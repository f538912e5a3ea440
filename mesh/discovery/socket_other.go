//go:build !linux

package discovery

import (
	"context"
	"net"
	"net/netip"
)

// listen opens a socket for a link, on a port that other programs share.
func listen(ctx context.Context, _ network, f family) (*net.UDPConn, error) {
	kind := "udp4"
	if f == v6 {
		kind = "udp6"
	}
	conn, err := new(net.ListenConfig).ListenPacket(ctx, kind, netip.AddrPortFrom(group(f), port).String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}
