package store_test

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Clocks and log writers that etcd's packages start once a process and never end.
		goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
	)
}

type doc struct {
	N    int    `json:"n"`
	Text string `json:"text,omitempty"`
}

func TestEmbeddedKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	open := func() (*store.Store, func()) {
		s, closer, err := store.Open(t.Context(), store.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return s, func() {
			if err := closer.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	begin := time.Now()
	s, stop := open()
	t.Logf("ready after %v", time.Since(begin))
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the store took %v to start", took)
	}
	if err := store.NewCollection[doc](s, "docs").Put(t.Context(), "a", doc{N: 1}); err != nil {
		t.Fatal(err)
	}
	stop()
	s, stop = open()
	defer stop()
	if e, err := store.NewCollection[doc](s, "docs").Get(t.Context(), "a"); err != nil || e.Value.N != 1 {
		t.Fatalf("after a restart: %+v, %v", e, err)
	}
}

func TestSecondServerIsTold(t *testing.T) {
	dir := t.TempDir()
	storetest.Open(t, dir)
	_, _, err := store.Open(t.Context(), store.Options{Dir: dir})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "--data") {
		t.Fatalf("got %v, want ErrLocked that says what to do", err)
	}
}

func TestDeepDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 25))
	storetest.Open(t, dir)
}

func TestUnreachableCluster(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextWithTimeout(t, 500*time.Millisecond)
	defer cancel()
	if _, _, err := store.Open(ctx, store.Options{Endpoints: []string{"http://" + address}}); err == nil ||
		!strings.Contains(err.Error(), "--etcd") {
		t.Fatalf("got %v, want an error that names --etcd", err)
	}
}

func TestExternalClusterIsTheSame(t *testing.T) {
	dir := t.TempDir()
	inside := storetest.Open(t, dir)
	outside, closer, err := store.Open(t.Context(), store.Options{Endpoints: []string{"unix://" + filepath.Join(dir, "etcd.sock")}})
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if err := store.NewCollection[doc](inside, "docs").Put(t.Context(), "a", doc{N: 7}); err != nil {
		t.Fatal(err)
	}
	if e, err := store.NewCollection[doc](outside, "docs").Get(t.Context(), "a"); err != nil || e.Value.N != 7 {
		t.Fatalf("got %+v, %v", e, err)
	}
}
