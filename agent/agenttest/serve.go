package agenttest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

func (c *Cloud) serveFile(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, protocol.PathRepo)
	c.mu.Lock()
	b, ok := c.files[path]
	gate, lease := c.gate, c.lease
	chunk := strings.HasPrefix(path, "chunks/")
	if chunk {
		c.chunks++
	}
	c.mu.Unlock()
	if gate != nil {
		gate(path)
	}
	if _, takesPart := r.Header[protocol.HeaderLease]; lease != nil && ok && takesPart {
		h := lease(r.TLS.PeerCertificates[0].Subject.CommonName, path+r.Header.Get("Range"), protocol.ParseIsolated(r.Header.Get(protocol.HeaderIsolated)))
		if h != nil {
			if chunk {
				c.mu.Lock()
				c.chunks--
				c.mu.Unlock()
			}
			w.Header().Set(protocol.HeaderHolder, h.String())
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusConflict)
			return
		}
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (c *Cloud) serveDocuments(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	device := r.TLS.PeerCertificates[0].Subject.CommonName
	d := protocol.Documents{Membership: c.members[device], Policies: c.policies}
	if s, ok := c.sites[device]; ok {
		d.Site, _ = json.Marshal(s) // strings only
	}
	answer(w, d)
}

func (c *Cloud) takeReport(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(io.LimitReader(r.Body, protocol.MaxDocument))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.Take(b)
	w.WriteHeader(http.StatusNoContent)
}

func (c *Cloud) renew(w http.ResponseWriter, r *http.Request) {
	var q protocol.RenewRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.renewed++
	c.mu.Unlock()
	answer(w, protocol.RenewResponse{Certificate: c.CA.SignRequest(r.TLS.PeerCertificates[0].Subject.CommonName, q.CSR, 24*time.Hour), FleetCA: c.CA.PEM()})
}

func (c *Cloud) enroll(w http.ResponseWriter, r *http.Request) {
	var q protocol.EnrollRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Token != c.CA.Token() {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"detail":"The token is used up; make another one."}`)
		return
	}
	if q.ID == "" {
		q.ID = "d-derived"
	}
	answer(w, protocol.EnrollResponse{
		ID: q.ID, Certificate: c.CA.SignRequest(q.ID, q.CSR, time.Hour), FleetCA: c.CA.PEM(), Fleet: "test", Root: c.Root(), Server: c.URL,
	})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// files is the repository's place.
type files struct{ c *Cloud }

// Get implements repository.Files.
func (f files) Get(_ context.Context, path string) ([]byte, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	b, ok := f.c.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(b), nil
}

// Put implements repository.Files.
func (f files) Put(_ context.Context, path string, b []byte) error {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.c.files[path] = slices.Clone(b)
	return nil
}
