package origin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

var _ remote.Files = Leased{}

func TestLeases(t *testing.T) {
	var asked []string
	mux := http.NewServeMux()
	mux.HandleFunc("/repo/", func(w http.ResponseWriter, r *http.Request) {
		_, lease := r.Header[protocol.HeaderLease]
		asked = append(asked, strings.Join([]string{
			map[bool]string{true: "lease " + r.Header.Get(protocol.HeaderLease)}[lease], r.Header.Get(protocol.HeaderIsolated), r.Header.Get("Range"),
		}, "|"))
		switch isolated := r.Header.Get(protocol.HeaderIsolated); {
		case strings.HasSuffix(r.URL.Path, "/other"):
			w.WriteHeader(http.StatusConflict)
			return
		case lease && isolated == "":
			w.Header().Set(protocol.HeaderHolder, "d-2 10.0.0.2:7")
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusConflict)
			return
		case strings.HasSuffix(r.URL.Path, "/breaks") && r.Header.Get("If-Range") == "":
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.Header().Set("Content-Length", "10")
			w.Header().Set("ETag", `"e"`)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte("01234"))
			return // the connection breaks
		}
		w.Header().Set("ETag", `"e"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	})
	ca, s := serve(t, mux)
	c := client(t, ca, s.URL)
	ctx := t.Context()

	_, err := c.Leased(Lease{Epoch: "e1"}).Fetch(ctx, "chunk", 100)
	var held *HeldError
	if !errors.As(err, &held) || !errors.Is(err, remote.ErrHeld) || held.After != 5*time.Second || held.String() != "d-2 10.0.0.2:7" {
		t.Fatal(err)
	}
	if _, err := c.Leased(Lease{}).Range(ctx, "chunk", 2, 3); !errors.Is(err, remote.ErrHeld) {
		t.Fatal(err)
	}
	if b, err := c.Leased(Lease{Isolated: []string{"d-2", "d-3"}}).Range(ctx, "chunk", 2, 3); err != nil || string(b) != "234" {
		t.Fatal(string(b), err)
	}
	if b, err := c.Fetch(ctx, "chunk", 100); err != nil || string(b) != "0123456789" {
		t.Fatal(string(b), err)
	}
	if _, err := c.Leased(Lease{}).Fetch(ctx, "other", 100); errors.Is(err, remote.ErrHeld) || !errors.Is(err, ErrRefused) {
		t.Error("a conflict of another kind:", err)
	}
	// What has begun is gone on with, whoever holds the rest.
	if b, err := c.Leased(Lease{Isolated: []string{"d-2"}}).Range(ctx, "breaks", 0, 10); err != nil || string(b) != "0123456789" {
		t.Error(string(b), err)
	}
	want := []string{
		"lease e1||", "lease ||bytes=2-4", "lease |d-2,d-3|bytes=2-4", "||", "lease ||", "lease |d-2|bytes=0-9", "||bytes=5-9",
	}
	if d := cmp.Diff(want, asked); d != "" {
		t.Error(d)
	}
}

func TestHolderThatMakesNoSense(t *testing.T) {
	r := httptest.NewRecorder()
	r.Header().Set(protocol.HeaderHolder, "../x")
	r.Header().Set("Retry-After", "99999")
	r.WriteHeader(http.StatusConflict)
	if err := (&Lease{}).held("p", r.Result()); err != nil { //nolint:bodyclose // of a recorder
		t.Error(err)
	}
}
