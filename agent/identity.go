package agent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
)

const maxPEM = 64 << 10

// Identity is who the device is: a key that never leaves it, a certificate of the fleet CA, and that CA. It is safe for
// concurrent use.
type Identity struct {
	dir  string
	key  crypto.Signer
	pool *x509.CertPool

	mu   sync.Mutex
	cert tls.Certificate
}

// NewKey makes a device key in a folder and returns it; an existing one is used again, so that an enrolment that was
// interrupted goes on with the same key.
func NewKey(dir string) (crypto.Signer, error) {
	path := filepath.Join(dir, KeyFile)
	if key, err := loadKey(path); err == nil {
		return key, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, atomicfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func loadKey(path string) (crypto.Signer, error) {
	b, err := atomicfile.Read(path, maxPEM)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a %T cannot sign", path, key)
	}
	return signer, nil
}

// Request returns a certificate request (PKCS#10, DER) for a device.
func Request(key crypto.Signer, device string) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: device}}, key)
}

// LoadIdentity reads the identity from a folder.
func LoadIdentity(dir string) (*Identity, error) {
	i := &Identity{dir: dir}
	var err error
	if i.key, err = loadKey(filepath.Join(dir, KeyFile)); err != nil {
		return nil, fmt.Errorf("identity: %w; enrol this device", err)
	}
	ca, err := atomicfile.Read(filepath.Join(dir, CAFile), maxPEM)
	if err != nil {
		return nil, fmt.Errorf("identity: %w; enrol this device", err)
	}
	i.pool = x509.NewCertPool()
	if !i.pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("identity: %s holds no certificate; enrol this device", CAFile)
	}
	cert, err := atomicfile.Read(filepath.Join(dir, CertFile), maxPEM)
	if err != nil {
		return nil, fmt.Errorf("identity: %w; enrol this device", err)
	}
	if i.cert, err = i.pair(cert); err != nil {
		return nil, err
	}
	return i, nil
}

// pair joins a certificate with the key and refuses one of another key.
func (i *Identity) pair(certPEM []byte) (tls.Certificate, error) {
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := tls.X509KeyPair(certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("identity: %w; enrol this device again", err)
	}
	if cert.Leaf == nil {
		return tls.Certificate{}, errors.New("identity: no certificate")
	}
	return cert, nil
}

// Device returns the id in the certificate.
func (i *Identity) Device() string { return i.Certificate().Leaf.Subject.CommonName }

// Certificate returns the current certificate.
func (i *Identity) Certificate() tls.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cert
}

// Pool returns the fleet's roots.
func (i *Identity) Pool() *x509.CertPool { return i.pool }

// TLS returns a client's configuration that always shows the newest certificate.
func (i *Identity) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    i.pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c := i.Certificate()
			return &c, nil
		},
	}
}

// RenewAt returns when half of the certificate's life is over.
func (i *Identity) RenewAt() time.Time {
	leaf := i.Certificate().Leaf
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
}

// Replace stores a new certificate for the same key and device, and uses it from now on.
func (i *Identity) Replace(certPEM []byte) error {
	cert, err := i.pair(certPEM)
	if err != nil {
		return err
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: i.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return fmt.Errorf("identity: the new certificate: %w", err)
	}
	if got := cert.Leaf.Subject.CommonName; got != i.Device() {
		return fmt.Errorf("identity: the new certificate is of %q", got)
	}
	if err := atomicfile.Write(filepath.Join(i.dir, CertFile), certPEM, 0o600); err != nil {
		return err
	}
	i.mu.Lock()
	i.cert = cert
	i.mu.Unlock()
	return nil
}
