package dashboard_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/link"
	"github.com/waxwing-ota/waxwing/agent/origin"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/servertest"
)

// town is devices of several sites that say what a test wants. Only their words are made up: they enrol, connect and
// report as real ones do.
type town struct {
	*servertest.Server
	t    testing.TB
	ctx  context.Context //nolint:containedctx // of the test, for the connections of its devices
	work sync.WaitGroup
}

// citizen is a device of a town.
type citizen struct {
	id     string
	client *origin.Client
	seq    uint64
}

func newTown(t testing.TB) *town {
	ctx, cancel := context.WithCancel(context.Background())
	w := &town{Server: servertest.Start(t), t: t, ctx: ctx}
	t.Cleanup(func() {
		cancel()
		w.work.Wait()
	})
	return w
}

// settle makes n devices of one site; those from offline on are not connected.
func (w *town) settle(site, prefix string, n, offline int) ([]*citizen, error) {
	labels := map[string]string{}
	if site != "" {
		labels["site"] = site
	}
	body, err := json.Marshal(map[string]any{"kind": "enroll", "labels": labels})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.Operator+"/api/v1/tokens", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := w.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var made struct{ Secret string }
	if err := json.NewDecoder(answer.Body).Decode(&made); err != nil || made.Secret == "" {
		return nil, fmt.Errorf("no token: %s %w", answer.Status, err)
	}
	all := make([]*citizen, n)
	var g errgroup.Group
	g.SetLimit(16)
	for i := range all {
		g.Go(func() (err error) {
			all[i], err = w.enrol(fmt.Sprintf("%s-%03d", prefix, i+1), made.Secret, i < offline)
			return err
		})
	}
	return all, g.Wait()
}

func (w *town) enrol(id, token string, online bool) (*citizen, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	identity, err := origin.Enroll(w.ctx, w.Device, protocol.EnrollRequest{Token: token, CSR: csr, ID: id, Hardware: "virtual"})
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(identity.Certificate, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(identity.FleetCA)
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}
	client, err := origin.New(origin.Options{Server: w.Device, TLS: config})
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(client.Close)
	if !online {
		return &citizen{id: id, client: client}, nil
	}
	there := make(chan struct{}, 1)
	l, err := link.New(link.Options{
		Device: id, Brokers: identity.Brokers, TLS: config.Clone(),
		Deliver: func(context.Context, string, []byte) {},
		Changed: func(yes bool) {
			if yes {
				select {
				case there <- struct{}{}:
				default:
				}
			}
		},
	})
	if err != nil {
		return nil, err
	}
	w.work.Go(func() { _ = l.Run(w.ctx) }) // it ends with the test
	select {
	case <-there:
		return &citizen{id: id, client: client}, nil
	case <-time.After(30 * time.Second):
		return nil, fmt.Errorf("%s does not reach the broker", id)
	}
}

// says sends a report; change fills it in.
func (c *citizen) says(ctx context.Context, change func(*protocol.Report)) error {
	c.seq++
	r := protocol.Report{
		Schema: 1, Device: c.id, Seq: c.seq, Time: time.Now(), Agent: "test", Hardware: "virtual", Neighbors: 7,
		Running: protocol.Running{Slot: "a", Product: "edge-gw", Version: "1.0.0"},
		Mesh:    &protocol.Mesh{Share: true, Link: protocol.LinkWired},
	}
	change(&r)
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return c.client.Report(ctx, b)
}

// updates fills a report with an update that is done to some percent: of what a device fetches a 24th is from the server.
func updates(r *protocol.Report, percent int64) {
	const one = 12_000_000
	r.Update = &protocol.Update{
		Product: "edge-gw", Version: "1.1.0", Phase: protocol.Downloading,
		Bytes: protocol.Bytes{
			Total: 5 * one, Done: one * 5 * percent / 100, Reused: 3 * one * percent / 100,
			Origin: one / 24 * percent / 100, Peers: one * 23 / 24 * percent / 100, Served: one * percent / 110,
		},
	}
	if percent == 100 {
		r.Update.Phase, r.Running.Version = protocol.Committed, "1.1.0"
	}
}
