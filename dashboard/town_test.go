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
	"io"
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

// publish makes releases of bytes that do not compress, as large as what the devices say they fetch.
func (w *town) publish(versions ...string) error {
	for _, version := range versions {
		image := make([]byte, one)
		if _, err := rand.Read(image); err != nil {
			return err
		}
		var upload struct{ ID string }
		if err := w.ask(http.MethodPost, "/uploads", map[string]any{"size": one, "name": version}, &upload); err != nil {
			return err
		}
		for from := 0; from < one; from += 4_000_000 {
			if err := w.ask(http.MethodPatch, fmt.Sprintf("/uploads/%s?offset=%d", upload.ID, from), image[from:from+4_000_000], nil); err != nil {
				return err
			}
		}
		if err := w.ask(http.MethodPost, "/releases", map[string]any{
			"product": "edge-gw", "version": version, "hardware": []string{"virtual"}, "upload": upload.ID,
		}, nil); err != nil {
			return err
		}
		for {
			var r struct{ State, Error string }
			if err := w.ask(http.MethodGet, "/releases/edge-gw/"+version, nil, &r); err != nil || r.State == "published" {
				if err != nil {
					return err
				}
				break
			}
			if r.Error != "" {
				return fmt.Errorf("%s: %s", version, r.Error)
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-w.ctx.Done():
				return w.ctx.Err()
			}
		}
	}
	return nil
}

// ask sends a request to the API and reads the answer into v, which may be nil. A body is JSON, or bytes as they are.
func (w *town) ask(method, path string, body, v any) error {
	contentType, content := "application/octet-stream", []byte(nil)
	switch b := body.(type) {
	case nil:
	case []byte:
		content = b
	default:
		j, err := json.Marshal(b)
		if err != nil {
			return err
		}
		contentType, content = "application/json", j
	}
	r, err := http.NewRequestWithContext(w.ctx, method, w.Operator+"/api/v1"+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", contentType)
	answer, err := w.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(text, v)
}

// settle makes n devices of one site; those from offline on are not connected.
func (w *town) settle(site, prefix string, n, offline int) ([]*citizen, error) {
	labels := map[string]string{}
	if site != "" {
		labels["site"] = site
	}
	var made struct{ Secret string }
	if err := w.ask(http.MethodPost, "/tokens", map[string]any{"kind": "enroll", "labels": labels}, &made); err != nil {
		return nil, err
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

const one = 12_000_000 // bytes that a device fetches

// updates fills a report with an update that is done to some percent: of what a device fetches a 24th is from the server.
func updates(r *protocol.Report, percent int64) {
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
