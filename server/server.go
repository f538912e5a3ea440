package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/waxwing-ota/waxwing/server/api"
	"github.com/waxwing-ota/waxwing/server/audit"
	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/auth/oidc"
	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
	"github.com/waxwing-ota/waxwing/server/conductor"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/identity"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/site"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// Server is one server.
type Server struct {
	o     Options
	ready chan struct{}
	at    Addresses // set before ready closes
}

// New checks the options. It opens nothing; Run does.
func New(o Options) (*Server, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	return &Server{o: o, ready: make(chan struct{})}, nil
}

// Ready is closed once the server serves.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addresses returns where it serves; call it after Ready.
func (s *Server) Addresses() Addresses { return s.at }

// parts is everything that one run consists of.
type parts struct {
	store    *store.Store
	closers  []io.Closer
	blob     blob.Store
	identity *identity.Authority
	keys     *keyring
	repo     *repository.Repository
	fleet    *fleet.Fleet
	sites    *site.Sites
	releases *release.Releases
	rollouts *conductor.Conductor
	auth     *auth.Auth
	metrics  *prometheus.Registry
	api      *api.Server
	fronts   fronts
}

// Run serves until ctx ends or a part of it fails.
func (s *Server) Run(ctx context.Context) (err error) {
	p := &parts{metrics: prometheus.NewRegistry()}
	defer func() {
		for i := len(p.closers) - 1; i >= 0; i-- {
			err = errors.Join(err, p.closers[i].Close())
		}
	}()
	if err := s.open(ctx, p); err != nil {
		return err
	}
	if err := s.listen(ctx, p); err != nil {
		return err
	}
	if err := s.wire(ctx, p); err != nil {
		return err
	}
	return s.serve(ctx, p)
}

// open opens what is kept: store, blobs, identity, keys and repository.
func (s *Server) open(ctx context.Context, p *parts) (err error) {
	var closer io.Closer
	p.store, closer, err = store.Open(ctx, store.Options{
		Dir: filepath.Join(s.o.Data, "etcd"), Endpoints: s.o.Etcd, Log: s.o.Log,
	})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, closer)
	if p.blob, err = dir.Open(s.o.Blob); err != nil {
		return err
	}
	if p.identity, err = identity.Open(identity.Options{Dir: filepath.Join(s.o.Data, "identity"), Now: s.o.Now}); err != nil {
		return err
	}
	var made bool
	if p.repo, p.keys, made, err = openRepository(ctx, s.o, p.blob); err != nil {
		return err
	}
	if err := s.raise(ctx, p); err != nil {
		return err
	}
	if made {
		s.o.Log.Warn("this is a DEVELOPMENT TRUST: all signing keys were made on this machine and lie in its data folder. " +
			"Fine for trying Waxwing; for production keep the root and targets keys offline and product keys in CI")
	}
	return nil
}

// wire makes the services and the planes above them.
func (s *Server) wire(ctx context.Context, p *parts) (err error) {
	if p.fleet, err = fleet.New(ctx, fleet.Options{
		Store: p.store, Identity: p.identity, Signer: p.keys.policy, Now: s.o.Now, Log: s.o.Log,
	}); err != nil {
		return err
	}
	p.sites = site.New(site.Options{Fleet: p.fleet, Mode: s.o.Sites, Now: s.o.Now, Log: s.o.Log})
	if p.releases, err = release.New(release.Options{
		Store: p.store, Blob: p.blob, Repository: p.repo,
		Verifier: &release.Trust{Dir: filepath.Join(s.o.Data, "trust"), Root: p.repo.Root, Blob: p.blob, Now: s.o.Now},
		Uploads:  filepath.Join(s.o.Data, "uploads"), Keys: filepath.Join(s.o.Data, "keys"),
		MaxImage: s.o.MaxImage, Running: p.running, PatchWorkers: s.o.PatchWorkers, Log: s.o.Log, Now: s.o.Now,
	}); err != nil {
		return err
	}
	p.rollouts = conductor.New(conductor.Options{
		Store: p.store, Fleet: p.fleet, Releases: p.releases, Signer: p.keys.policy, Floor: p.repo.SnapshotVersion,
		Now: s.o.Now, Log: s.o.Log,
	})
	roots, err := identityRoots(s.o.OIDCCA)
	if err != nil {
		return err
	}
	p.auth = auth.New(auth.Options{
		Store: p.store, Identities: oidc.New(oidc.Options{Roots: roots, Now: s.o.Now}), Log: s.o.Log, Now: s.o.Now,
	})
	tokenFile := filepath.Join(s.o.Data, "admin.token")
	made, err := p.auth.Bootstrap(ctx, tokenFile)
	if err != nil {
		return err
	}
	if made {
		s.o.Log.Info("made the first admin token; sign in with it", "file", tokenFile, "command", fmt.Sprintf("waxwing login --server %s --token-file %s", s.at.Operator, tokenFile))
	}
	if p.api, err = api.New(api.Options{
		Store: p.store, Auth: p.auth, Audit: audit.New(p.store, s.o.Now), Fleet: p.fleet, Sites: p.sites, Releases: p.releases,
		Rollouts: p.rollouts, Keys: p.repo, Dashboard: s.o.Dashboard, Metrics: p.metrics, EnrolCommand: s.enrolCommand,
		Log: s.o.Log, Now: s.o.Now,
	}); err != nil {
		return err
	}
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), p.api)
	return s.wireDevices(p)
}

// identityRoots returns who vouches for the issuers of CI jobs' identities: the system's authorities and those in a file.
func identityRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--oidc-ca: %w", err)
	}
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("--oidc-ca %s: there is no certificate in it; give a PEM file", file)
	}
	return pool, nil
}

// enrolCommand returns what to run on a device that shall enrol.
func (s *Server) enrolCommand(secret string) string {
	return fmt.Sprintf("waxwing-agent enroll --server %s --token %s --data /var/lib/waxwing", s.at.Device, secret)
}

// listen opens the ports, so that addresses are known before anything speaks of them.
func (s *Server) listen(ctx context.Context, p *parts) error {
	open := func(at *net.Listener, what, address string) error {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen for %s: %w (is another server running? choose another port with --%s-listen)", what, err, what)
		}
		*at = l
		p.closers = append(p.closers, closed{l})
		return nil
	}
	if err := errors.Join(
		open(&p.fronts.operator, "operator", s.o.OperatorListen),
		open(&p.fronts.device, "device", s.o.DeviceListen),
	); err != nil {
		return err
	}
	scheme := "http://"
	if s.o.OperatorCert != "" {
		scheme = "https://"
	}
	s.at = Addresses{
		Operator: scheme + address("", p.fronts.operator), Device: "https://" + address(s.o.Advertise, p.fronts.device),
		MQTT: withoutUser(s.o.MQTTBroker), PID: os.Getpid(),
	}
	if s.o.MQTTBroker == "" {
		if err := open(&p.fronts.mqtt, "mqtt", s.o.MQTTListen); err != nil {
			return err
		}
		s.at.MQTT = "tls://" + address(s.o.Advertise, p.fronts.mqtt)
	}
	return nil
}

// withoutUser takes name and password out of a URL: it is shown to devices and people.
func withoutUser(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

// address returns host:port by which a listener is reached: by the advertised host, if there is one.
func address(advertise string, l net.Listener) string {
	host, port, _ := net.SplitHostPort(l.Addr().String())
	if advertise != "" {
		host = advertise
	}
	return net.JoinHostPort(reachable(host), port)
}

// closed is a listener that may have been closed by whoever served on it.
type closed struct{ net.Listener }

func (c closed) Close() error {
	if err := c.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
