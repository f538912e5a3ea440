package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
)

// Open returns the CA in a directory, and makes one at the first start. A directory with only one of the two files is an
// error and never overwritten: a new CA would lock every device out.
func Open(o Options) (*Authority, error) {
	a := &Authority{now: o.Now}
	if a.now == nil {
		a.now = time.Now
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("fleet CA: %w", err)
	}
	keyFile, certFile := filepath.Join(o.Dir, "ca.key"), filepath.Join(o.Dir, "ca.pem")
	keyPEM, keyErr := os.ReadFile(keyFile)
	certPEM, certErr := os.ReadFile(certFile)
	switch {
	case errors.Is(certErr, fs.ErrNotExist):
		// The certificate is written last, so a key alone is a first start that was cut short and nobody knows it.
		if err := a.create(keyFile, certFile); err != nil {
			return nil, fmt.Errorf("make the fleet CA in %s: %w", o.Dir, err)
		}
	case keyErr != nil || certErr != nil:
		return nil, fmt.Errorf("%w: restore ca.key and ca.pem in %s from a backup: %w", ErrDamaged, o.Dir, errors.Join(keyErr, certErr))
	default:
		if err := a.parse(keyPEM, certPEM); err != nil {
			return nil, fmt.Errorf("%w: restore ca.key and ca.pem in %s from a backup: %w", ErrDamaged, o.Dir, err)
		}
	}
	a.pool = x509.NewCertPool()
	a.pool.AddCert(a.cert)
	return a, nil
}

func (a *Authority) create(keyFile, certFile string) error {
	var err error
	if a.key, err = newKey(); err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	now := a.now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Waxwing fleet CA"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return err
	}
	return atomicfile.Write(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

func (a *Authority) parse(keyPEM, certPEM []byte) error {
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return errors.New("ca.key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	var ok bool
	if a.key, ok = key.(*ecdsa.PrivateKey); !ok {
		return fmt.Errorf("ca.key is a %T", key)
	}
	if block, _ = pem.Decode(certPEM); block == nil {
		return errors.New("ca.pem is not PEM")
	}
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		return err
	}
	if !a.key.PublicKey.Equal(a.cert.PublicKey) || !a.cert.IsCA {
		return errors.New("ca.key and ca.pem do not belong together")
	}
	return nil
}

// issue signs an end certificate; names are DNS names and IP addresses.
func (a *Authority) issue(cn string, key crypto.PublicKey, life time.Duration, names []string, uses ...x509.ExtKeyUsage) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.now()
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: cn},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses, BasicConstraintsValid: true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	if len(names) == 0 {
		// Without any alternative name some TLS libraries fall back to the common name as a host name.
		c.URIs = []*url.URL{{Scheme: "waxwing", Host: "device", Path: "/" + cn}}
	}
	return x509.CreateCertificate(rand.Reader, c, a.cert, key, a.key)
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}
