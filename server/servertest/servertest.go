// Package servertest runs a whole server inside a test: embedded etcd and broker, TLS, everything real, on free loopback
// ports, gone with the test.
package servertest

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/server"
)

// Server is a running server.
type Server struct {
	server.Addresses
	Data  string // its folder
	Token string // of the first administrator
	Stop  func() // ends it before the test does, and waits
}

// Start starts a server in a new folder.
func Start(t testing.TB) *Server { return Open(t, server.Options{Data: t.TempDir()}) }

// Open starts a server with options; addresses that are not given are free loopback ports.
func Open(t testing.TB, o server.Options) *Server {
	t.Helper()
	for _, listen := range []*string{&o.OperatorListen, &o.DeviceListen, &o.MQTTListen} {
		if *listen == "" {
			*listen = "127.0.0.1:0"
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}
	t.Cleanup(stop)
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatalf("the server did not start: %v", err)
	}
	token, err := os.ReadFile(filepath.Join(o.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return &Server{Addresses: s.Addresses(), Data: o.Data, Token: strings.TrimSpace(string(token)), Stop: stop}
}

// Do sends a request with the administrator's token.
func (s *Server) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+s.Token)
	return http.DefaultClient.Do(r)
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}
