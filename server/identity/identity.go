// Package identity is the fleet CA: it says who is a device of this fleet, and who is its server.
//
//	a, err := identity.Open(identity.Options{Dir: data + "/identity"})   // makes the CA at the first start
//	certificate, err := a.Device("d-1", csr)                             // PEM; 90 days; client and server
//	config := a.ServerTLS([]string{"ota.example.org"})                   // device plane and broker
//
// The CA is one ECDSA P-256 key, kept in ca.key (mode 0600) beside ca.pem. Whoever reads ca.key can make devices, so it
// never leaves the directory. It signs
//
//   - devices: common name = device id, for both ends of TLS, because neighbours serve each other. They carry no host
//     name, so a device can never pose as the server;
//   - the server itself ("waxwing-server" as a client of a broker, the advertised host names as a server).
//
// Certificates begin five minutes before now, for devices whose clock is a little slow. Revocation is not here: a device
// is refused by its admission (server/fleet), which works at once and needs no lists.
package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// ServerName is the common name of the server's certificates. No device may have it.
const ServerName = "waxwing-server"

const (
	deviceLife = 90 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
	caLife     = 20 * 365 * 24 * time.Hour
	backdate   = 5 * time.Minute
)

// Errors that callers tell apart.
var (
	ErrRequest = errors.New("certificate request refused")
	ErrDamaged = errors.New("the fleet CA is damaged")
)

// Options of [Open].
type Options struct {
	Dir string           // of ca.key and ca.pem; made when missing
	Now func() time.Time // nil: time.Now
}

// Authority is the fleet CA.
type Authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
	now  func() time.Time
}

// PEM returns the CA's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Pool returns the CA as the only root. It is shared; do not add to it.
func (a *Authority) Pool() *x509.CertPool { return a.pool }

// Fingerprint returns the hex SHA-256 of the CA's certificate (DER). Enrolment tokens carry it, so that a new device
// knows its server before it has any certificate.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Fleet returns the tag by which neighbours of one fleet know each other: the first 12 digits of the fingerprint of the
// CA's public key. It tells strangers nothing.
func (a *Authority) Fleet() string { return KeyID(a.cert)[:12] }

// KeyID returns the hex SHA-256 of a certificate's SubjectPublicKeyInfo.
func KeyID(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// Request is a checked certificate request.
type Request struct {
	public crypto.PublicKey
	Key    string // hex SHA-256 of its SubjectPublicKeyInfo
}

// ParseRequest reads a PKCS#10 request in DER. Only the key counts; names and extensions that it asks for are ignored.
// Its signature must prove the key, which must be ECDSA P-256 or ed25519. Errors match ErrRequest.
func ParseRequest(der []byte) (*Request, error) {
	if len(der) > 16<<10 {
		return nil, fmt.Errorf("%w: %d bytes, over 16384", ErrRequest, len(der))
	}
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: it must be PKCS#10 in DER: %w", ErrRequest, err)
	}
	switch k := r.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, fmt.Errorf("%w: curve %s; use an ECDSA P-256 or ed25519 key", ErrRequest, k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return nil, fmt.Errorf("%w: a key of type %T; use an ECDSA P-256 or ed25519 key", ErrRequest, k)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: its signature does not fit its key: %w", ErrRequest, err)
	}
	sum := sha256.Sum256(r.RawSubjectPublicKeyInfo)
	return &Request{public: r.PublicKey, Key: hex.EncodeToString(sum[:])}, nil
}

// Device issues a device's certificate, in PEM.
func (a *Authority) Device(id string, r *Request) ([]byte, error) {
	if err := firmware.CheckName("device", id); err != nil {
		return nil, err
	}
	if id == ServerName {
		return nil, fmt.Errorf("%w: no device may be called %s", ErrRequest, id)
	}
	der, err := a.issue(id, r.public, deviceLife, nil, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
