package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/identity"
	"github.com/waxwing-ota/waxwing/server/site"
)

// problem is an answer of RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// Errors of the plane itself.
var (
	errNoCertificate = errors.New("show the device's certificate; a device without one enrols at /device/v1/enroll")
	errNotFound      = errors.New("there is nothing here")
	errMethod        = errors.New("this method does nothing here")
	errTooLarge      = errors.New("the body is too large")
	errBody          = errors.New("the body cannot be read")
	errTooMany       = errors.New("too many enrolments from this address were refused; try again in a minute")
)

// problemOf maps errors to answers, in one place. What is not known is our own fault, and its text stays in the log.
func problemOf(err error) (p problem, ours bool) {
	for _, m := range []struct {
		err    error
		status int
		name   string
	}{
		{errNoCertificate, http.StatusUnauthorized, "certificate-required"},
		{errNotFound, http.StatusNotFound, "not-found"},
		{errMethod, http.StatusMethodNotAllowed, "method-not-allowed"},
		{errTooLarge, http.StatusRequestEntityTooLarge, "too-large"},
		{errBody, http.StatusBadRequest, "malformed"},
		{errTooMany, http.StatusTooManyRequests, "too-many-requests"},
		{fleet.ErrTokenExpired, http.StatusForbidden, "token-expired"},
		{fleet.ErrTokenUsed, http.StatusForbidden, "token-used"},
		{fleet.ErrToken, http.StatusForbidden, "token-unknown"},
		{fleet.ErrExists, http.StatusConflict, "device-exists"},
		{site.ErrHeld, http.StatusConflict, "held"},
		{fleet.ErrRejected, http.StatusForbidden, "device-rejected"},
		{fleet.ErrPending, http.StatusForbidden, "device-pending"},
		{fleet.ErrUnknown, http.StatusForbidden, "device-unknown"},
		{fleet.ErrKey, http.StatusForbidden, "wrong-key"},
		{fleet.ErrReport, http.StatusUnprocessableEntity, "report-refused"},
		{fleet.ErrInvalid, http.StatusUnprocessableEntity, "invalid"},
		{identity.ErrRequest, http.StatusUnprocessableEntity, "certificate-request-refused"},
		{fleet.ErrEnded, http.StatusServiceUnavailable, "ending"},
		{context.Canceled, http.StatusServiceUnavailable, "ending"},
	} {
		if errors.Is(err, m.err) {
			return problem{"/problems/" + m.name, http.StatusText(m.status), m.status, err.Error()}, false
		}
	}
	const status = http.StatusInternalServerError
	return problem{"/problems/internal", http.StatusText(status), status, "The server could not do this; its log says why. Try again later."}, true
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p, ours := problemOf(err)
	if ours {
		s.o.Log.Error("a request of a device failed", "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr, "error", err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "60")
	}
	w.WriteHeader(p.Status)
	s.sent(r, json.NewEncoder(w).Encode(p))
}

// answer sends a JSON document.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.fail(w, r, fmt.Errorf("answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(b)
	s.sent(r, err)
}

// sent notes an answer that did not get through, which is no error of ours.
func (s *Server) sent(r *http.Request, err error) {
	if err != nil {
		s.o.Log.Debug("an answer did not get through", "path", r.URL.Path, "remote", r.RemoteAddr, "error", err)
	}
}
