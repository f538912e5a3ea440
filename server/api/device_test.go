package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"time"

	"github.com/waxwing-ota/waxwing/agent/origin"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/api"
)

// device is a device that enrolled over the device plane and says what a test wants it to.
type device struct {
	*plane
	id     string
	client *origin.Client
	seq    uint64
}

func (p *plane) enrol(id, hardware string, token map[string]any) *device {
	p.Helper()
	token["kind"] = "enroll"
	var made api.CreatedToken
	p.want(201, "POST", "/tokens", token).into(p.T, &made)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		p.Fatal(err)
	}
	identity, err := origin.Enroll(p.Context(), p.Device, protocol.EnrollRequest{Token: made.Secret, CSR: csr, ID: id, Hardware: hardware})
	if err != nil {
		p.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		p.Fatal(err)
	}
	pair, err := tls.X509KeyPair(identity.Certificate, pemOf("EC PRIVATE KEY", der))
	if err != nil {
		p.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(identity.FleetCA)
	client, err := origin.New(origin.Options{Server: p.Device, TLS: &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair},
	}})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(client.Close)
	return &device{plane: p, id: id, client: client}
}

// says reports that the device runs a release, and where its update stands.
func (d *device) says(version string, running firmware.Digest, u *protocol.Update) {
	d.Helper()
	d.reports(protocol.Report{
		Agent: "test", Hardware: "qemu-arm64",
		Running: protocol.Running{Slot: "a", Product: "edge-gw", Version: version, Counter: 1, SHA256: running}, Update: u,
	})
}

// reports sends the device's next report, as it is of now if it says no time.
func (d *device) reports(r protocol.Report) {
	d.Helper()
	d.seq++
	r.Schema, r.Device, r.Seq = 1, d.id, d.seq
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	b, err := json.Marshal(r)
	if err != nil {
		d.Fatal(err)
	}
	if err := d.client.Report(d.Context(), b); err != nil {
		d.Fatal(err)
	}
}

// releaseOf publishes an image by upload and returns the release.
func (p *plane) releaseOf(version string, image []byte) api.Release {
	p.Helper()
	var u api.Upload
	p.want(201, "POST", "/uploads", map[string]any{"size": len(image), "name": "image"}).into(p.T, &u)
	p.want(200, "PATCH", "/uploads/"+u.Id+"?offset=0", image)
	var r api.Release
	p.want(201, "POST", "/releases", map[string]any{
		"product": "edge-gw", "version": version, "hardware": []string{"qemu-arm64"}, "upload": u.Id,
	}).into(p.T, &r)
	p.until("the release is built", func() bool {
		p.want(200, "GET", "/releases/edge-gw/"+version, nil).into(p.T, &r)
		return r.State != api.ReleaseStateBuilding
	})
	if r.State != api.ReleaseStatePublished {
		p.Fatalf("release %s is %s: %s", version, r.State, *r.Error)
	}
	return r
}

// until waits for a condition.
func (p *plane) until(what string, holds func() bool) {
	p.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.Fatalf("it never came that %s", what)
		}
	}
}
