// Package fleettest gives tests a running fleet on a real store, and devices with certificates of its CA.
package fleettest

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/identity"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// World is a running fleet.
type World struct {
	*fleet.Fleet
	Store    *store.Store
	Identity *identity.Authority
	Signer   Signer
	Stop     func() // ends the fleet before the test ends
}

// Signer is a policy key.
type Signer struct{ Key ed25519.PrivateKey }

// Public implements policy.Signer.
func (s Signer) Public() public.Key {
	k, _ := public.Of(s.Key.Public()) // ed25519 is always one
	return k
}

// Sign implements policy.Signer.
func (s Signer) Sign(m []byte) ([]byte, error) { return ed25519.Sign(s.Key, m), nil }

// New starts an empty fleet that ends with the test.
func New(t testing.TB) *World {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &World{Store: storetest.New(t), Signer: Signer{Key: key}}
	if w.Identity, err = identity.Open(identity.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if w.Fleet, err = fleet.New(t.Context(), fleet.Options{Store: w.Store, Identity: w.Identity, Signer: w.Signer}); err != nil {
		t.Fatal(err)
	}
	w.Stop = Run(t, w.Fleet.Run)
	return w
}

// Run runs something until the test ends.
func Run(t testing.TB, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// NewKey makes the key of a device.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Request makes a certificate request.
func Request(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Token makes an enrolment token.
func (w *World) Token(t testing.TB, spec fleet.TokenSpec) string {
	t.Helper()
	_, secret, err := w.CreateToken(t.Context(), spec, "test")
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// Device enrols a device and returns its certificate.
func (w *World) Device(t testing.TB, id string, labels map[string]string) tls.Certificate {
	t.Helper()
	key := NewKey(t)
	e, err := w.Enroll(t.Context(), protocol.EnrollRequest{
		Token: w.Token(t, fleet.TokenSpec{}), CSR: Request(t, key), ID: id, Hardware: "hw", Labels: labels,
	})
	if err != nil {
		t.Fatal(err)
	}
	return Pair(t, e.Certificate, key)
}

// Pair puts a certificate in PEM and its key together.
func Pair(t testing.TB, certificate []byte, key *ecdsa.PrivateKey) tls.Certificate {
	t.Helper()
	block, _ := pem.Decode(certificate)
	if block == nil {
		t.Fatal("the certificate is not PEM")
	}
	return tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
}

// Report makes a report; change may be nil.
func Report(t testing.TB, device string, seq uint64, change func(*protocol.Report)) []byte {
	t.Helper()
	r := protocol.Report{Schema: 1, Device: device, Seq: seq, Time: time.Now(), Agent: "test", Hardware: "hw", Running: protocol.Running{Slot: "a"}}
	if change != nil {
		change(&r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Eventually waits for what other goroutines bring about.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}
