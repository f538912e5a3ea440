package origin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// ErrServer says that a server is not the one that an enrolment token was made by.
var ErrServer = errors.New("this is not the server that the token was made by")

// Fingerprint returns the SHA-256 of the CA's certificate that an enrolment token ends with:
// wxe_<id>_<secret>_<64 hex digits>.
func Fingerprint(token string) ([]byte, error) {
	parts := strings.Split(strings.TrimSpace(token), "_")
	if len(parts) != 4 || parts[0] != "wxe" {
		return nil, errors.New("this is no enrolment token (wxe_…); make one with: waxwing token create")
	}
	sum, err := hex.DecodeString(parts[3])
	if err != nil || len(sum) != sha256.Size {
		return nil, errors.New("the enrolment token is cut short; copy all of it")
	}
	return sum, nil
}

// Enroll asks for an identity. The device knows no CA yet; the token's fingerprint stands in for it: the server must show
// a chain whose root has this fingerprint before it sees the token.
func Enroll(ctx context.Context, server string, q protocol.EnrollRequest) (*protocol.EnrollResponse, error) {
	sum, err := Fingerprint(q.Token)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q: give https://host:port", server)
	}
	c, err := New(Options{Server: server, TLS: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         u.Hostname(),
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection below does it, against the fingerprint
		VerifyConnection:   func(s tls.ConnectionState) error { return pinned(s, sum, u.Hostname()) },
	}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r := new(protocol.EnrollResponse)
	if err := c.ask(ctx, http.MethodPost, protocol.PathEnroll, q, r); err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	return r, nil
}

// pinned verifies that the leaf is the server's own, by a chain that ends in the CA with the fingerprint.
func pinned(s tls.ConnectionState, sum []byte, host string) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, c := range s.PeerCertificates {
		if got := sha256.Sum256(c.Raw); subtle.ConstantTimeCompare(got[:], sum) == 1 && c.IsCA {
			roots.AddCert(c)
			found = true
		} else {
			between.AddCert(c)
		}
	}
	if !found {
		return fmt.Errorf("%w: no certificate of its chain has the fingerprint %x…", ErrServer, sum[:8])
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(host); ip != nil {
		options.DNSName = "[" + ip.String() + "]"
	}
	if _, err := s.PeerCertificates[0].Verify(options); err != nil {
		return fmt.Errorf("%w: %w", ErrServer, err)
	}
	return nil
}
