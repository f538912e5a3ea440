// Package meshtest makes what tests of neighbours need: a fleet with its own authority, and an origin that counts.
package meshtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Fleet issues certificates.
type Fleet struct {
	Pool *x509.CertPool
	Tag  string // no other fleet on this machine has it

	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

// NewFleet makes an authority.
func NewFleet(t testing.TB) *Fleet {
	t.Helper()
	f := &Fleet{Pool: x509.NewCertPool()}
	f.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test fleet"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, f.key.Public(), f.key)
	if err != nil {
		t.Fatal(err)
	}
	if f.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	f.Pool.AddCert(f.ca)
	f.Tag = fmt.Sprintf("%x", firmware.Sum(der))[:16]
	return f
}

// Device returns a certificate for a device of the fleet.
func (f *Fleet) Device(t testing.TB, id string) tls.Certificate {
	t.Helper()
	return f.Until(t, id, time.Now().Add(time.Hour), x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)
}

// Until returns a certificate that is good until a time, in whole seconds, and for some uses.
func (f *Fleet) Until(t testing.TB, id string, end time.Time, uses ...x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key := newKey(t)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: id}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: end, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses,
	}, f.ca, key.Public(), f.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Origin hands out chunks and counts.
type Origin struct {
	mu       sync.Mutex
	plain    map[firmware.ChunkID][]byte
	asked    map[firmware.ChunkID]int
	requests int
	failing  map[firmware.ChunkID]int
	received int64
	rate     time.Duration
	free     time.Time
}

// NewOrigin returns an origin of plain chunks whose uplink takes rate for each request.
func NewOrigin(chunks map[firmware.ChunkID][]byte, rate time.Duration) *Origin {
	return &Origin{plain: chunks, asked: map[firmware.ChunkID]int{}, failing: map[firmware.ChunkID]int{}, rate: rate}
}

// Fail lets a chunk not come the next n times.
func (o *Origin) Fail(id firmware.ChunkID, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failing[id] = n
}

// Fetch implements mesh.Origin: a batch is one request, and a quarter of its plain bytes cross the line.
func (o *Origin) Fetch(ctx context.Context, batch []firmware.Chunk, deliver func([]byte, firmware.ChunkID) error) (n int64, err error) {
	o.mu.Lock()
	o.requests++
	if now := time.Now(); o.free.Before(now) {
		o.free = now
	}
	o.free = o.free.Add(o.rate)
	wait := time.Until(o.free)
	o.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for _, c := range batch {
		o.mu.Lock()
		o.asked[c.ID]++
		plain := o.plain[c.ID]
		if o.failing[c.ID] > 0 {
			o.failing[c.ID]--
			plain = nil
		}
		o.received += int64(len(plain)) / 4
		o.mu.Unlock()
		if plain == nil {
			err = firmware.ErrNotFound
			continue
		}
		n += int64(len(plain)) / 4
		if err := deliver(plain, c.ID); err != nil {
			return n, err
		}
	}
	return n, err
}

// Received returns the bytes that crossed the line.
func (o *Origin) Received() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.received
}

// Asked returns how many chunks were asked for, repeats included, and in how many requests.
func (o *Origin) Asked() (chunks, requests int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, k := range o.asked {
		chunks += k
	}
	return chunks, o.requests
}
