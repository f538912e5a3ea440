// Package exchange is how neighbours trade: HTTPS with mutual TLS under the fleet CA, over HTTP/1.1.
//
//	GET /mesh/v1/hello?port=N                204            who are you? (the certificate says) I answer at this port
//	GET /mesh/v1/swarms/<index digest>?rev=N 200 State      what do you have and claim? Waits while rev is the newest
//	                           &follow=first 429            or other: I come again and again; there are few such places
//	GET /mesh/v1/swarms/<index digest>/patches/<pack id>/<group>
//	                                         200 bytes      a group of patches, for those with the same base
//	GET /mesh/v1/chunks/<chunk id>           200 bytes      the plain chunk
//	                                         429            not now, a limit is used up; Retry-After says for how long; states too
//	GET /mesh/v1/objects/<digest>            200 bytes      small content: an index, a manifest
//	                                         503            not yet; Waxwing-Interest says whether it is seeking or fetching it
//
// Integrity does not rest on TLS: every chunk is verified by its id before it is used and again before it is served.
// TLS says who a neighbour is, keeps strangers out and keeps what devices run from them. Numbers of connections, sizes,
// times and rates are bounded on both sides, redirects are not followed, and nothing a neighbour says is used as a name.
package exchange

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Limits on both sides. A device follows three others, each over one connection, with one more to take chunks; those who
// follow it do the same.
const (
	maxConnections = 8               // taken at once, and made at once
	maxStrangers   = 4               // of those made, to addresses that may be nobody's: they wait in vain for seconds
	maxPerHost     = 2               // made to one neighbour: one waits for news, one takes chunks
	idleTime       = 3 * time.Second // a connection is kept without a request
	pollTime       = 5 * time.Second // longest wait for news, and so until one that died is noticed
	firstByte      = 2 * time.Second // until an answer begins, but for news
	dialTime       = 3 * time.Second // until a connection stands
	leastRate      = 64 << 10        // bytes a second of a chunk that has begun
	objectTime     = 3 * time.Second // likewise one object
	maxState       = 1 << 20         // bytes of one State
	longestAfter   = time.Hour       // that a device may say to give nothing for
)

// How a follower follows.
const (
	followFirst = "first"
	followOther = "other"
)

// Errors that callers tell apart.
var (
	ErrNotTrading = errors.New("the neighbour does not trade in that")
	ErrSelf       = errors.New("that neighbour is this device")
	ErrBusy       = errors.New("the neighbour has followers enough")
)

// TLS returns the configuration of both sides: this device's certificate, the one of the moment as it is renewed, and any
// certificate of the fleet on the other. Names and addresses are not compared, as neighbours have no names; the device id is the certificate's common name.
func TLS(certificate func() tls.Certificate, fleet *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c := certificate()
			return &c, nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c := certificate()
			return &c, nil
		},
		ClientAuth:         tls.RequireAnyClientCert, // VerifyConnection below looks at it, on both sides
		InsecureSkipVerify: true,                     //nolint:gosec // likewise: the chain is verified, the name has no meaning
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("no certificate")
			}
			between := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
				Roots: fleet, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			})
			if err != nil {
				return fmt.Errorf("not of this fleet: %w", err)
			}
			return nil
		},
	}
}

func deviceOf(s *tls.ConnectionState) string {
	if s == nil || len(s.PeerCertificates) == 0 {
		return ""
	}
	return s.PeerCertificates[0].Subject.CommonName
}
