// Package origin is the device plane: what devices ask of the server over HTTPS.
//
//	POST /device/v1/enroll     without a certificate; a token lets in
//	POST /device/v1/renew      a new certificate for the same key
//	GET  /device/v1/policy     all signed documents for this device; ETag
//	POST /device/v1/reports    204 when the report is durable
//	GET  /device/v1/time       the server's clock
//	GET  /repo/…               metadata, targets, chunks and patches, with ranges
//
// Everybody but /enroll shows a certificate of the fleet CA, whose common name and key the fleet knows; rejected and
// unknown devices get 403. A device that waits for approval may ask, report and renew, but reads no repository.
// [Options.OpenRepo] opens /repo to everybody, for a CDN before the server.
//
// A device may take part in the leases of its site, by [protocol.HeaderLease] with a request for a chunk or a range of a
// pack; then it is refused (409, /problems/held) what another device of the site holds, whom [protocol.HeaderHolder] names.
// It takes the bytes from there, or says in [protocol.HeaderIsolated] that it cannot reach the holder; see package site.
// Whoever sends no such header is served.
//
// Errors are RFC 9457 problems with a sentence that says what to do. A file that is missing from /repo is 404, whatever
// its name. Bodies, headers and times are bounded; a download may take as long as it moves.
package origin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/site"
)

// Fleet is what the device plane needs of the fleet; *fleet.Fleet is one.
type Fleet interface {
	Enroll(ctx context.Context, r protocol.EnrollRequest) (*fleet.Enrolment, error)
	Renew(ctx context.Context, device string, csr []byte) ([]byte, error)
	Authenticate(device, key string) (fleet.Admission, error)
	Documents(ctx context.Context, device string) (protocol.Documents, error)
	Ingest(ctx context.Context, device string, report []byte, address string) error
}

// Sites is what the device plane needs of sites; *site.Sites is one.
type Sites interface {
	// Seen notes whence a device speaks.
	Seen(device, remote string, broker bool)
	// Document returns the hint for a device, or nil.
	Document(device string) json.RawMessage
	// Lease returns a lease on bytes of the repository, nil for a device that needs none, or a site.HeldError.
	Lease(device string, q site.Request) (*site.Lease, error)
	// Holder returns how a holder is named to a device.
	Holder(holder, reader string) protocol.Holder
}

// Options of [New].
type Options struct {
	Listener net.Listener // plain TCP; closed by Run
	TLS      *tls.Config  // with certificate and ClientCAs: identity.ServerTLS
	Fleet    Fleet
	Blobs    blob.Store // the repository is below "repo/"
	OpenRepo bool       // serve /repo without a certificate
	Sites    Sites      // nil: every device is alone

	// What an enrolled device is told.
	FleetCA []byte                                // PEM
	Tag     string                                // identity.Authority.Fleet
	Root    func(context.Context) ([]byte, error) // the newest root.json
	Server  string                                // https://host:port
	Brokers []string                              // tls://host:port

	// EnrollFailures is how many refused enrolments an address may cause at once; one more is allowed each ten seconds.
	// 0: 30.
	EnrollFailures int
	Now            func() time.Time // nil: time.Now
	Log            *slog.Logger
}

// Server is the device plane.
type Server struct {
	o       Options
	handler http.Handler
	limits  *limits
	served  served
}

// New returns a server that serves once it runs.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.EnrollFailures == 0 {
		o.EnrollFailures = 30
	}
	s := &Server{o: o, limits: newLimits(o.EnrollFailures, o.Now)}
	s.handler = s.routes()
	return s
}

// Addr returns the listener's address.
func (s *Server) Addr() net.Addr { return s.o.Listener.Addr() }

// Run serves until ctx ends; requests under way then have five seconds.
func (s *Server) Run(ctx context.Context) error {
	config := s.o.TLS.Clone()
	config.ClientAuth = tls.VerifyClientCertIfGiven
	config.NextProtos = []string{"h2", "http/1.1"}
	h := &http.Server{
		Handler: s.handler,
		// No ReadTimeout: it would also end the context of a download that takes longer. Bodies have their own deadline.
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      stalled,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		// net/http logs each handshake that fails, which a stranger decides.
		ErrorLog:    log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: 64},
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := h.Serve(tls.NewListener(s.o.Listener, config)); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := h.Shutdown(end); err != nil {
			return h.Close()
		}
		return nil
	})
	return g.Wait()
}

// Served returns the bytes of bodies sent under /repo, by device; "" is everybody without a certificate.
func (s *Server) Served() map[string]int64 { return s.served.all() }

// served counts bytes.
type served struct {
	mu       sync.Mutex
	byDevice map[string]int64
}

func (s *served) add(device string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byDevice == nil {
		s.byDevice = map[string]int64{}
	}
	s.byDevice[device] += n
}

func (s *served) all() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]int64, len(s.byDevice))
	for device, n := range s.byDevice {
		all[device] = n
	}
	return all
}
