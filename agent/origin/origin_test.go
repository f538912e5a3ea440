package origin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func serve(t *testing.T, h http.Handler) (*agenttest.CA, *httptest.Server) {
	t.Helper()
	ca := agenttest.NewCA(t)
	s := httptest.NewUnstartedServer(h)
	s.TLS = ca.Server(tls.VerifyClientCertIfGiven)
	s.StartTLS()
	t.Cleanup(s.Close)
	return ca, s
}

func client(t *testing.T, ca *agenttest.CA, url string) *Client {
	t.Helper()
	c, err := New(Options{Server: url, TLS: ca.Device("d-1"), Window: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestRepository reads files, and gives up on a body without an end (security case 15), one that drips (security case 16) and a
// redirect.
func TestRepository(t *testing.T) {
	id := firmware.Sum([]byte("chunk"))
	mux := http.NewServeMux()
	mux.HandleFunc("/repo/metadata/timestamp.json", func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			t.Error("no certificate was shown")
		}
		w.Write([]byte("twelve bytes"))
	})
	mux.HandleFunc("/repo/chunks/"+firmware.ChunkPath(id), func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("frame")) })
	mux.HandleFunc("/repo/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/repo/metadata/timestamp.json", http.StatusFound)
	})
	mux.HandleFunc("/repo/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/repo/drip", func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
				w.Write([]byte("."))
				w.(http.Flusher).Flush()
			}
		}
	})
	ca, s := serve(t, mux)
	c := client(t, ca, s.URL)
	if c.Reached() {
		t.Error("reached before anything was asked")
	}
	b, err := c.Fetch(ctx, "metadata/timestamp.json", 100)
	if err != nil || string(b) != "twelve bytes" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := c.Fetch(ctx, "chunks/"+firmware.ChunkPath(id), 100); err != nil || string(b) != "frame" {
		t.Errorf("%q %v", b, err)
	}
	if got := c.Bytes(); got != 12+5 || !c.Reached() {
		t.Error(got)
	}
	for path, want := range map[string]error{
		"metadata/9.root.json": trust.ErrNotFound, "moved": ErrRefused, "endless": firmware.ErrTooLarge, "drip": ErrSlow,
	} {
		begin := time.Now()
		if b, err := c.Fetch(ctx, path, 64<<10); !errors.Is(err, want) {
			t.Errorf("%s: %q %v", path, b, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s took %s", path, took)
		}
	}
	if _, err := c.Fetch(ctx, "metadata/timestamp.json", 11); !errors.Is(err, firmware.ErrTooLarge) {
		t.Error(err)
	}
}

func TestDocuments(t *testing.T) {
	ca, s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"7"`)
		if r.Header.Get("If-None-Match") == `"7"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		json.NewEncoder(w).Encode(protocol.Documents{Membership: json.RawMessage(`{"a":1}`)})
	}))
	c := client(t, ca, s.URL)
	for i, want := range []bool{true, false, false, true} {
		if i == 3 {
			c.Forget()
		}
		d, err := c.Documents(ctx)
		if err != nil || (d != nil) != want {
			t.Errorf("question %d: %v %v", i, d, err)
		}
	}
}

func TestReportAndRefusal(t *testing.T) {
	status := http.StatusNoContent
	ca, s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status == http.StatusNoContent {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprint(w, `{"title":"Forbidden","detail":"The device was rejected; accept it in the dashboard."}`)
	}))
	c := client(t, ca, s.URL)
	if err := c.Report(ctx, []byte("{}")); err != nil {
		t.Error(err)
	}
	status = http.StatusForbidden
	if err := c.Report(ctx, []byte("{}")); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "accept it") {
		t.Error(err)
	}
	status = http.StatusServiceUnavailable
	if err := c.Report(ctx, []byte("{}")); err == nil || errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

func TestForeignServerIsRefused(t *testing.T) {
	asked := false
	_, s := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	s.Config.ErrorLog = nil
	mine := agenttest.NewCA(t)
	if _, err := client(t, mine, s.URL).Time(ctx); err == nil || asked {
		t.Error("a server of another CA is believed")
	}
	if _, err := Enroll(ctx, s.URL, protocol.EnrollRequest{Token: mine.Token()}); !errors.Is(err, ErrServer) || asked {
		t.Error("the token was shown to a foreign server:", err)
	}
}

func TestEnroll(t *testing.T) {
	ca, s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q protocol.EnrollRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.URL.Path != protocol.PathEnroll {
			t.Error(r.URL, err)
		}
		json.NewEncoder(w).Encode(protocol.EnrollResponse{ID: "d-1"})
	}))
	r, err := Enroll(ctx, s.URL, protocol.EnrollRequest{Token: ca.Token()})
	if err != nil || r.ID != "d-1" {
		t.Error(r, err)
	}
	for _, bad := range []string{"", "wxo_a_b", ca.Token()[:60], "http"} {
		if _, err := Enroll(ctx, s.URL, protocol.EnrollRequest{Token: bad}); err == nil {
			t.Errorf("token %q", bad)
		}
	}
	if _, err := Enroll(ctx, "http://127.0.0.1", protocol.EnrollRequest{Token: ca.Token()}); err == nil {
		t.Error("without TLS")
	}
}

func TestCancel(t *testing.T) {
	ca, s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	c := client(t, ca, s.URL)
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := c.Time(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
