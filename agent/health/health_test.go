package health

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func yes() bool { return true }
func no() bool  { return false }

func run(t *testing.T, patience time.Duration, o Options) *Failure {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if o.Every == 0 {
		o.Every = 5 * time.Millisecond
	}
	err := Run(ctx, o)
	var f *Failure
	if err != nil && !errors.As(err, &f) {
		t.Fatalf("%T: %v", err, err)
	}
	return f
}

func TestAllPass(t *testing.T) {
	var calls atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 3 {
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer web.Close()
	marker := filepath.Join(t.TempDir(), "asked")
	f := run(t, 20*time.Second, Options{
		Probes: []Probe{
			{Name: "app", Command: []string{"sh", "-c", `test "$WAXWING_VERSION" = 1.1 && { test -e "$MARKER" || { touch "$MARKER"; exit 1; }; }`}},
			{Name: "web", HTTP: web.URL},
			{Name: "broker", MQTT: true},
			{Name: "server", Server: true},
		},
		Env: []string{"WAXWING_VERSION=1.1", "MARKER=" + marker}, MQTT: yes, Server: yes,
	})
	if f != nil {
		t.Fatal(f)
	}
	if _, err := os.Stat(marker); err != nil || calls.Load() != 3 {
		t.Errorf("%v, %d requests", err, calls.Load())
	}
}

func TestFailures(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no database", http.StatusInternalServerError)
	}))
	defer web.Close()
	for name, c := range map[string]struct {
		probe Probe
		want  string
	}{
		"exit":       {Probe{Name: "p", Command: []string{"sh", "-c", "echo first; echo the reason >&2; exit 3"}}, "the reason"},
		"no command": {Probe{Name: "p", Command: []string{"/does/not/exist"}}, "no such file"},
		"status":     {Probe{Name: "p", HTTP: web.URL}, "no database"},
		"mqtt":       {Probe{Name: "p", MQTT: true}, "broker"},
		"server":     {Probe{Name: "p", Server: true}, "server"},
	} {
		t.Run(name, func(t *testing.T) {
			f := run(t, 300*time.Millisecond, Options{Probes: []Probe{{Name: "fine", Command: []string{"true"}}, c.probe}, MQTT: no, Server: no})
			if f == nil || f.Probe != "p" || !strings.Contains(f.Detail, c.want) {
				t.Errorf("%v lacks %q", f, c.want)
			}
		})
	}
}

func TestAHangingCommandIsKilledWithItsChildren(t *testing.T) {
	begin := time.Now()
	f := run(t, 300*time.Millisecond, Options{Probes: []Probe{{Name: "p", Command: []string{"sh", "-c", "echo waiting; sleep 600 & wait"}}}})
	if f == nil || !f.Deadline || !strings.Contains(f.Detail, "waiting") {
		t.Error(f)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Error("it took", took)
	}
}

func TestOutputIsBounded(t *testing.T) {
	f := run(t, time.Second, Options{Probes: []Probe{{Name: "p", Command: []string{"sh", "-c", "yes | head -c 300000; echo end; false"}}}})
	if f == nil || len(f.Detail) > maxOutput+100 || !strings.HasSuffix(f.Detail, "end") {
		t.Error(f)
	}
}

func TestCheck(t *testing.T) {
	for _, p := range []Probe{
		{}, {Name: "p"}, {Name: "P", MQTT: true}, {Name: "p", MQTT: true, HTTP: "http://x"}, {Name: "p", MQTT: true, TimeoutSeconds: -1},
	} {
		if p.Check() == nil {
			t.Errorf("%+v", p)
		}
	}
	if err := (Probe{Name: "p", MQTT: true}).Check(); err != nil {
		t.Error(err)
	}
}
