package origin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/identity"
)

// handler answers a request; an error becomes a problem.
type handler func(w http.ResponseWriter, r *http.Request) error

func (s *Server) routes() http.Handler {
	methods := func(h map[string]handler) handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			do, ok := h[r.Method]
			if !ok {
				return errMethod
			}
			return do(w, r)
		}
	}
	paths := map[string]handler{
		protocol.PathEnroll:  methods(map[string]handler{http.MethodPost: s.enroll}),
		protocol.PathRenew:   methods(map[string]handler{http.MethodPost: s.renew}),
		protocol.PathPolicy:  methods(map[string]handler{http.MethodGet: s.policy, http.MethodHead: s.policy}),
		protocol.PathReports: methods(map[string]handler{http.MethodPost: s.reports}),
		protocol.PathTime:    methods(map[string]handler{http.MethodGet: s.time, http.MethodHead: s.time}),
	}
	// No ServeMux: it would redirect paths that are not clean, where devices follow no redirects.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ok := paths[r.URL.Path]
		switch {
		case r.ContentLength != 0 && r.Method != http.MethodPost:
			// Nobody reads such a body, so nobody waits for it either.
			w.Header().Set("Connection", "close")
			h = func(http.ResponseWriter, *http.Request) error {
				return fmt.Errorf("%w: %s has none here", errBody, r.Method)
			}
		case ok:
		case strings.HasPrefix(r.URL.Path, protocol.PathRepo):
			h = s.repo
		default:
			h = func(http.ResponseWriter, *http.Request) error { return errNotFound }
		}
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// device returns who asks. The certificate was verified by TLS.
func (s *Server) device(r *http.Request) (id string, admission fleet.Admission, err error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "", "", errNoCertificate
	}
	c := r.TLS.PeerCertificates[0]
	id = c.Subject.CommonName
	admission, err = s.o.Fleet.Authenticate(id, identity.KeyID(c))
	if err == nil && s.o.Sites != nil {
		s.o.Sites.Seen(id, r.RemoteAddr, false)
	}
	return id, admission, err
}

// bodyTime is how long a device may take to send a body.
const bodyTime = 30 * time.Second

// body reads a body of a bounded size in a bounded time.
func body(w http.ResponseWriter, r *http.Request) (b []byte, err error) {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		return nil, err
	}
	b, err = io.ReadAll(http.MaxBytesReader(w, r.Body, protocol.MaxDocument))
	if err == nil {
		err = control.SetReadDeadline(time.Time{})
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, fmt.Errorf("%w: over %d bytes", errTooLarge, large.Limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBody, err)
	}
	return b, nil
}

func decode(w http.ResponseWriter, r *http.Request, into any) error {
	b, err := body(w, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	return nil
}

func (s *Server) enroll(w http.ResponseWriter, r *http.Request) error {
	address := host(r)
	if !s.limits.allows(address) {
		return errTooMany
	}
	e, err := s.letIn(w, r)
	if err != nil {
		s.limits.refused(address)
		s.o.Log.Warn("an enrolment was refused", "remote", address, "reason", err)
		return err
	}
	root, err := s.o.Root(r.Context())
	if err != nil {
		return fmt.Errorf("root.json: %w", err)
	}
	s.o.Log.Info("a device enrolled", "device", e.Device.ID, "remote", address, "token", e.Device.EnrolledBy, "admission", e.Device.Admission)
	s.answer(w, r, protocol.EnrollResponse{
		ID: e.Device.ID, Certificate: e.Certificate, FleetCA: s.o.FleetCA, Fleet: s.o.Tag, Root: root,
		Server: s.o.Server, Brokers: s.o.Brokers,
	})
	return nil
}

func (s *Server) letIn(w http.ResponseWriter, r *http.Request) (*fleet.Enrolment, error) {
	var request protocol.EnrollRequest
	if err := decode(w, r, &request); err != nil {
		return nil, err
	}
	return s.o.Fleet.Enroll(r.Context(), request)
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request) error {
	device, _, err := s.device(r)
	if err != nil {
		return err
	}
	var request protocol.RenewRequest
	if err := decode(w, r, &request); err != nil {
		return err
	}
	certificate, err := s.o.Fleet.Renew(r.Context(), device, request.CSR)
	if err != nil {
		return err
	}
	s.o.Log.Info("a device renewed its certificate", "device", device)
	s.answer(w, r, protocol.RenewResponse{Certificate: certificate, FleetCA: s.o.FleetCA})
	return nil
}

func (s *Server) policy(w http.ResponseWriter, r *http.Request) error {
	device, _, err := s.device(r)
	if err != nil {
		return err
	}
	d, err := s.o.Fleet.Documents(r.Context(), device)
	if err != nil {
		return err
	}
	if s.o.Sites != nil {
		d.Site = s.o.Sites.Document(device)
	}
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	etag := `"` + firmware.Sum(b).String() + `"`
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "private, no-cache")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	s.answer(w, r, d)
	return nil
}

func (s *Server) reports(w http.ResponseWriter, r *http.Request) error {
	device, _, err := s.device(r)
	if err != nil {
		return err
	}
	b, err := body(w, r)
	if err != nil {
		return err
	}
	if err := s.o.Fleet.Ingest(r.Context(), device, b, host(r)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) time(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := s.device(r); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	s.answer(w, r, protocol.Time{Now: s.o.Now().UTC().Truncate(time.Millisecond)})
	return nil
}

// host returns the address of the other end without its port. Headers such as X-Forwarded-For are not looked at: anybody
// may send them.
func host(r *http.Request) string {
	h, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return h
}
