package fleet_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/identity"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
	)
}

type signer struct{ key ed25519.PrivateKey }

func (s signer) Public() public.Key {
	k, _ := public.Of(s.key.Public()) // ed25519 is always one
	return k
}

func (s signer) Sign(m []byte) ([]byte, error) { return ed25519.Sign(s.key, m), nil }

// world is a running fleet on a real store, with a clock of its own.
type world struct {
	*fleet.Fleet
	t        *testing.T
	store    *store.Store
	identity *identity.Authority
	signer   signer

	mu     sync.Mutex
	offset time.Duration
	log    strings.Builder
	stop   func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: storetest.New(t), signer: signer{key}}
	if w.identity, err = identity.Open(identity.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset)
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset += d
}

func (w *world) start() {
	w.t.Helper()
	f, err := fleet.New(w.t.Context(), fleet.Options{
		Store: w.store, Identity: w.identity, Signer: w.signer, Now: w.now, Log: slog.New(slog.NewTextHandler(w, nil)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	w.Fleet = f
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
	}
}

// Write takes the log.
func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

// logged returns how often something is in the log.
func (w *world) logged(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.log.String(), what)
}

func (w *world) restart() { w.t.Helper(); w.stop(); w.start() }

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func csr(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (w *world) token(spec fleet.TokenSpec) string {
	w.t.Helper()
	_, secret, err := w.CreateToken(w.t.Context(), spec, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

func (w *world) enroll(id string, labels map[string]string) fleet.Device {
	w.t.Helper()
	e, err := w.Enroll(w.t.Context(), protocol.EnrollRequest{
		Token: w.token(fleet.TokenSpec{}), CSR: csr(w.t, newKey(w.t)), ID: id, Hardware: "hw", Labels: labels,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return e.Device
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
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

func (w *world) membership(device string) *policy.Membership {
	w.t.Helper()
	d, err := w.Documents(w.t.Context(), device)
	if err != nil {
		w.t.Fatal(err)
	}
	if d.Membership == nil {
		return nil
	}
	doc, err := policy.Open(d.Membership, &policy.Keys{Schema: 1, Policy: public.Any(w.signer.Public())})
	if err != nil {
		w.t.Fatal(err)
	}
	return doc.(*policy.Membership)
}
