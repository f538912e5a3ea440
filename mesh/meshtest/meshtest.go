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
	key := newKey(t)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: id}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
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
	mu     sync.Mutex
	frames map[firmware.ChunkID][]byte
	asked  map[firmware.ChunkID]int
	rate   time.Duration
	free   time.Time
}

// NewOrigin returns an origin of plain chunks whose uplink takes rate for each.
func NewOrigin(chunks map[firmware.ChunkID][]byte, rate time.Duration) *Origin {
	o := &Origin{frames: map[firmware.ChunkID][]byte{}, asked: map[firmware.ChunkID]int{}, rate: rate}
	for id, plain := range chunks {
		o.frames[id] = firmware.EncodeChunk(plain)
	}
	return o
}

// Chunk implements mesh.Origin.
func (o *Origin) Chunk(ctx context.Context, id firmware.ChunkID) ([]byte, error) {
	o.mu.Lock()
	o.asked[id]++
	if now := time.Now(); o.free.Before(now) {
		o.free = now
	}
	o.free = o.free.Add(o.rate)
	wait, frame := time.Until(o.free), o.frames[id]
	o.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if frame == nil {
		return nil, firmware.ErrNotFound
	}
	return frame, nil
}

// Asked returns how many chunks were asked for, repeats included.
func (o *Origin) Asked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, k := range o.asked {
		n += k
	}
	return n
}
