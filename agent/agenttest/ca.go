// Package agenttest has what tests of the agent talk to: a fleet CA, a broker over mutual TLS, all real and on loopback.
package agenttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// CA is the certificate authority of a fleet.
type CA struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes one.
func NewCA(t testing.TB) *CA {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test fleet"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &CA{t: t, cert: cert, key: key}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// PEM returns the CA's certificate.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// Pool returns the CA as the only root.
func (c *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.cert)
	return p
}

// Token returns an enrolment token that ends with the CA's fingerprint.
func (c *CA) Token() string {
	sum := sha256.Sum256(c.cert.Raw)
	return "wxe_id_secret_" + hex.EncodeToString(sum[:])
}

// Issue returns the DER of a certificate that lasts for life.
func (c *CA) Issue(name string, key crypto.PublicKey, life time.Duration) []byte {
	c.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		c.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-5 * time.Minute), NotAfter: time.Now().Add(life), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, c.cert, key, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return der
}

// Certificate returns a key pair of this name, with the CA's certificate behind it.
func (c *CA) Certificate(name string) tls.Certificate {
	key := newKey(c.t)
	return tls.Certificate{Certificate: [][]byte{c.Issue(name, key.Public(), time.Hour), c.cert.Raw}, PrivateKey: key}
}

// Server returns the configuration of a server that asks for a device's certificate.
func (c *CA) Server(auth tls.ClientAuthType) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.Certificate("server")}, ClientCAs: c.Pool(), ClientAuth: auth}
}

// Device returns the configuration of a device.
func (c *CA) Device(id string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.Certificate(id)}, RootCAs: c.Pool()}
}

// SignRequest answers a certificate request (DER) with a certificate in PEM.
func (c *CA) SignRequest(name string, csr []byte, life time.Duration) []byte {
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		c.t.Error(err)
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Issue(name, r.PublicKey, life)})
}
