package identity_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/identity"
)

func open(t *testing.T, dir string, now func() time.Time) *identity.Authority {
	t.Helper()
	a, err := identity.Open(identity.Options{Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func request(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "whoever"}, DNSNames: []string{"ota.example.org"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func device(t *testing.T, a *identity.Authority, id string, key crypto.Signer) *x509.Certificate {
	t.Helper()
	r, err := identity.ParseRequest(request(t, key))
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.Device(id, r)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if identity.KeyID(c) != r.Key {
		t.Fatal("the key's id changed on its way")
	}
	return c
}

func TestAuthorityOutlivesTheServer(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, nil)
	info, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	b := open(t, dir, nil)
	if !bytes.Equal(a.PEM(), b.PEM()) || a.Fleet() != b.Fleet() || len(a.Fleet()) != 12 {
		t.Fatal("another CA after a restart")
	}
	block, _ := pem.Decode(a.PEM())
	if sum := sha256.Sum256(block.Bytes); hex.EncodeToString(sum[:]) != a.Fingerprint() {
		t.Fatal("the fingerprint is not that of the certificate")
	}
	// A first start that was cut short left a key that nobody knows.
	if err := os.Remove(filepath.Join(dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	open(t, dir, nil)
	for _, damage := range []func() error{
		func() error { return os.Remove(filepath.Join(dir, "ca.key")) },
		func() error { return os.WriteFile(filepath.Join(dir, "ca.key"), []byte("no key"), 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := identity.Open(identity.Options{Dir: dir}); !errors.Is(err, identity.ErrDamaged) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestDeviceCertificate(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	a := open(t, t.TempDir(), func() time.Time { return now })
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{p256(t), ed} {
		c := device(t, a, "d-1", key)
		if c.Subject.CommonName != "d-1" || len(c.DNSNames) != 0 || len(c.IPAddresses) != 0 || c.IsCA {
			t.Fatalf("%v %v %v", c.Subject, c.DNSNames, c.IPAddresses)
		}
		if c.NotBefore.Before(now.Add(-5*time.Minute)) || !c.NotAfter.Equal(now.Add(90*24*time.Hour)) {
			t.Fatalf("from %v to %v", c.NotBefore, c.NotAfter)
		}
		for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
			if _, err := c.Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{use}, CurrentTime: now}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.VerifyHostname("ota.example.org"); err == nil {
			t.Fatal("a device may pose as the server")
		}
	}
}

func TestRequestsAreChecked(t *testing.T) {
	a := open(t, t.TempDir(), nil)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	broken := request(t, p256(t))
	broken[len(broken)-1] ^= 1
	for name, der := range map[string][]byte{
		"empty": nil, "no request": []byte("csr"), "P-384": request(t, p384), "RSA": request(t, rsaKey), "signature": broken,
		"long": make([]byte, 17<<10),
	} {
		if _, err := identity.ParseRequest(der); !errors.Is(err, identity.ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := identity.ParseRequest(request(t, p256(t)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Device(identity.ServerName, r); !errors.Is(err, identity.ErrRequest) {
		t.Errorf("a device called as the server: %v", err)
	}
	for _, id := range []string{"", "../x", "A", "d 1", strings.Repeat("d", 65)} {
		if _, err := a.Device(id, r); !errors.Is(err, firmware.ErrMalformed) {
			t.Errorf("id %q: %v", id, err)
		}
	}
}

// handshake connects two configurations and returns what the client saw.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	done := make(chan error, 1)
	go func() {
		c := tls.Server(b, server)
		err := c.Handshake()
		_ = b.Close()
		done <- err
	}()
	c := tls.Client(a, client)
	err := c.Handshake()
	state := c.ConnectionState()
	_ = a.Close()
	return state, errors.Join(err, <-done)
}

func TestServerTLS(t *testing.T) {
	now := time.Now()
	a := open(t, t.TempDir(), func() time.Time { return now })
	server := a.ServerTLS([]string{"ota.example.org:8443", "192.0.2.7", "localhost"})
	server.ClientAuth = tls.RequireAndVerifyClientCert
	for _, name := range []string{"ota.example.org", "192.0.2.7", "localhost", "127.0.0.1"} {
		client := a.ClientTLS(nil)
		client.ServerName = name
		state, err := handshake(t, server, client)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(state.PeerCertificates) != 2 {
			t.Fatal("the CA is not sent along")
		}
		sum := sha256.Sum256(state.PeerCertificates[1].Raw)
		if hex.EncodeToString(sum[:]) != a.Fingerprint() {
			t.Fatal("what is sent along is not the CA")
		}
	}
	other := open(t, t.TempDir(), nil)
	client := other.ClientTLS(a.Pool())
	client.ServerName = "localhost"
	if _, err := handshake(t, server, client); err == nil {
		t.Fatal("a client of another fleet came in")
	}
	get := func() *x509.Certificate {
		c, err := server.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf
	}
	first := get()
	now = now.Add(59 * 24 * time.Hour)
	if !get().Equal(first) {
		t.Fatal("renewed too early")
	}
	now = now.Add(2 * 24 * time.Hour)
	if second := get(); second.Equal(first) || second.NotAfter.Before(now.Add(89*24*time.Hour)) {
		t.Fatal("not renewed in time")
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add(request(f, p256(f)))
	f.Add([]byte{0x30, 0x82})
	f.Fuzz(func(t *testing.T, der []byte) {
		if r, err := identity.ParseRequest(der); (r == nil) == (err == nil) {
			t.Fatal(r, err)
		}
	})
}
