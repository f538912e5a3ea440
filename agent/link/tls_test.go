package link

import (
	"crypto/tls"
	"net"

	"github.com/waxwing-ota/waxwing/agent/agenttest"
)

func tlsServer(raw net.Conn, ca *agenttest.CA) net.Conn {
	return tls.Server(raw, ca.Server(tls.RequireAndVerifyClientCert))
}
