package identity

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"sync"
	"time"
)

// ServerTLS returns the configuration of a listener of the device plane or the broker: a certificate for the given host
// names and addresses, localhost and the loopback addresses, issued when it is first asked for and again when two thirds
// of its life are over. The CA's certificate is sent along, so that a device that knows only the fingerprint can check.
// ClientCAs is the fleet CA; the caller sets ClientAuth.
func (a *Authority) ServerTLS(hosts []string) *tls.Config {
	names := []string{"localhost", "127.0.0.1", "::1"}
	for _, h := range hosts {
		if name, _, err := net.SplitHostPort(h); err == nil {
			h = name
		}
		if h != "" && !slices.Contains(names, h) {
			names = append(names, h)
		}
	}
	held := &renewed{issue: func() (*tls.Certificate, error) {
		return a.pair(names, x509.ExtKeyUsageServerAuth)
	}, now: a.now}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		ClientCAs:      a.pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return held.get() },
	}
}

// ClientTLS returns the configuration by which the server is a client of an MQTT broker: its certificate is that of
// [ServerName]. roots are those of the broker; nil: the fleet CA.
func (a *Authority) ClientTLS(roots *x509.CertPool) *tls.Config {
	if roots == nil {
		roots = a.pool
	}
	held := &renewed{issue: func() (*tls.Certificate, error) {
		return a.pair(nil, x509.ExtKeyUsageClientAuth)
	}, now: a.now}
	return &tls.Config{
		MinVersion:           tls.VersionTLS12,
		RootCAs:              roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return held.get() },
	}
}

// pair issues a certificate of the server with a new key.
func (a *Authority) pair(names []string, use x509.ExtKeyUsage) (*tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := a.issue(ServerName, key.Public(), serverLife, names, use)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// renewed holds a certificate and replaces it in time.
type renewed struct {
	issue func() (*tls.Certificate, error)
	now   func() time.Time

	mu   sync.Mutex
	held *tls.Certificate
}

func (r *renewed) get() (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held != nil && r.now().Before(r.held.Leaf.NotAfter.Add(-serverLife/3)) {
		return r.held, nil
	}
	c, err := r.issue()
	if err != nil {
		return nil, err
	}
	r.held = c
	return c, nil
}
