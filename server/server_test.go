package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/server"
	"github.com/waxwing-ota/waxwing/server/api/client"
	"github.com/waxwing-ota/waxwing/server/servertest"
	"github.com/waxwing-ota/waxwing/server/store"
)

// TestMain lets this binary be a server: a child that a test can kill.
func TestMain(m *testing.M) {
	if data := os.Getenv("WAXWING_TEST_SERVER"); data != "" {
		s, err := server.New(server.Options{
			Data: data, OperatorListen: "127.0.0.1:0", DeviceListen: "127.0.0.1:0", MQTTListen: "127.0.0.1:0",
		})
		if err == nil {
			ctx, cancel := context.WithCancel(context.Background())
			go func() { // a parent that is gone, however it went, closes this pipe
				_, _ = io.Copy(io.Discard, os.Stdin)
				cancel()
			}()
			err = s.Run(ctx)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child is a server in a process of its own.
type child struct {
	*testing.T
	cmd   *exec.Cmd
	url   string
	token string
}

func spawn(t *testing.T, data string) *child {
	t.Helper()
	if err := os.Remove(filepath.Join(data, "server.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	c := &child{T: t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), "WAXWING_TEST_SERVER="+data)
	c.cmd.Stderr = os.Stderr
	if _, err := c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var at server.Addresses
		b, err := os.ReadFile(filepath.Join(data, "server.json"))
		if err == nil && json.Unmarshal(b, &at) == nil && at.PID == c.cmd.Process.Pid {
			c.url = at.Operator
			break
		}
		if time.Now().After(end) {
			t.Fatal("the server did not start")
		}
	}
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	c.token = strings.TrimSpace(string(token))
	return c
}

func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Signal(syscall.SIGKILL)
		_ = c.cmd.Wait()
	}
}

func (c *child) do(method, path string, body io.Reader, kind string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(c.Context(), method, c.url+"/api/v1"+path, body)
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", kind)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, b, err
}

func (c *child) must(into any, method, path, body string) {
	c.Helper()
	status, b, err := c.do(method, path, strings.NewReader(body), "application/json")
	if err != nil || status >= 300 {
		c.Fatalf("%s %s: %d %s %v", method, path, status, b, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		c.Fatal(err)
	}
}

func image(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, size)
	for i := range b {
		b[i] = "abcdefgh"[r.IntN(8)]
	}
	return b
}

// A server that is killed in the middle of an upload, and again in the middle of the build, loses nothing: the upload goes
// on from where it was, and the build is done by the next start.
func TestKilledInUploadAndBuild(t *testing.T) {
	data, img := t.TempDir(), image(24<<20)
	c := spawn(t, data)
	var u client.Upload
	c.must(&u, "POST", "/uploads", fmt.Sprintf(`{"size": %d}`, len(img)))

	// Feed the body until the server has said, twice, that more of it is safe; then kill it in the middle.
	body, feed := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		_, _, err := c.do("PATCH", "/uploads/"+u.Id+"?offset=0", body, "application/octet-stream")
		sent <- err
	}()
	if _, err := feed.Write(img[:12<<20]); err != nil {
		t.Fatal(err)
	}
	for u.Offset == 0 {
		c.must(&u, "GET", "/uploads/"+u.Id, "")
	}
	c.kill()
	feed.Close()
	<-sent
	safe := u.Offset

	c = spawn(t, data)
	c.must(&u, "GET", "/uploads/"+u.Id, "")
	if u.Offset < safe {
		t.Fatalf("%d bytes were safe before the kill, %d after", safe, u.Offset)
	}
	status, b, err := c.do("PATCH", fmt.Sprintf("/uploads/%s?offset=%d", u.Id, u.Offset), bytes.NewReader(img[u.Offset:]), "application/octet-stream")
	if err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, b, err)
	}
	var r client.Release
	c.must(&r, "POST", "/releases", fmt.Sprintf(`{"product": "edge-gw", "version": "1", "hardware": ["a"], "upload": %q}`, u.Id))
	c.kill()

	c = spawn(t, data)
	for end := time.Now().Add(60 * time.Second); r.State == client.ReleaseStateBuilding; time.Sleep(10 * time.Millisecond) {
		c.must(&r, "GET", "/releases/edge-gw/1", "")
		if time.Now().After(end) {
			t.Fatal("it is building for ever")
		}
	}
	if r.State != client.ReleaseStatePublished || r.Size.Payload != int64(len(img)) || *r.Counter != 1 {
		t.Errorf("release %+v", r)
	}
	if left, err := filepath.Glob(filepath.Join(data, "uploads", "*")); err != nil || len(left) != 0 {
		t.Errorf("uploads left: %v %v", left, err)
	}
}

// Everything that a server knew it knows after a restart, and a stopped one leaves no server.json.
func TestRestart(t *testing.T) {
	data := t.TempDir()
	s := servertest.Open(t, server.Options{Data: data})
	if _, err := server.New(server.Options{Data: data}); err != nil {
		t.Error(err) // New opens nothing
	}
	second, err := server.New(server.Options{Data: data, OperatorListen: "127.0.0.1:0", DeviceListen: "127.0.0.1:0", MQTTListen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second server in the same folder: %v", err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "PUT", s.Operator+"/api/v1/groups/g?force=true", strings.NewReader(`{"selector": "site=oslo"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if a, err := s.Do(r); err != nil || a.StatusCode != 200 {
		t.Fatalf("%v %v", a, err)
	}
	s.Stop()
	if _, err := os.Stat(filepath.Join(data, "server.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("server.json is still there: %v", err)
	}
	before, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	s = servertest.Open(t, server.Options{Data: data})
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("starting took %s", took)
	}
	if s.Token != strings.TrimSpace(string(before)) {
		t.Error("a new admin token was made")
	}
	r, err = http.NewRequestWithContext(t.Context(), "GET", s.Operator+"/api/v1/groups", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if b, err := io.ReadAll(a.Body); err != nil || !strings.Contains(string(b), "site=oslo") {
		t.Errorf("the group is gone: %s %v", b, err)
	}
}

// A first start that was cut short between its files is begun again; a repository that lost its keys is not touched.
func TestFirstStartCutShort(t *testing.T) {
	data := t.TempDir()
	servertest.Open(t, server.Options{Data: data}).Stop()
	if err := os.Remove(filepath.Join(data, "blob/repo/metadata/timestamp.json")); err != nil {
		t.Fatal(err)
	}
	servertest.Open(t, server.Options{Data: data}).Stop()

	if err := os.Remove(filepath.Join(data, "keys/snapshot.pem")); err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Data: data, OperatorListen: "127.0.0.1:0", DeviceListen: "127.0.0.1:0", MQTTListen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "restore") {
		t.Errorf("a server without its snapshot key: %v", err)
	}
}

func TestOptions(t *testing.T) {
	data := t.TempDir()
	for name, c := range map[string]struct {
		o    server.Options
		says string
	}{
		"no data":      {server.Options{}, "--data"},
		"in the clear": {server.Options{Data: data, OperatorListen: ":8080"}, "in the clear"},
		"half of TLS":  {server.Options{Data: data, OperatorCert: "c.pem"}, "belong together"},
		"bucket":       {server.Options{Data: data, Blob: "s3://b"}, "not in this version"},
		"no address":   {server.Options{Data: data, DeviceListen: "8443"}, "host:port"},
		"no broker":    {server.Options{Data: data, MQTTBroker: "mosquitto"}, "tls://host:port"},
	} {
		if _, err := server.New(c.o); !errors.Is(err, server.ErrOptions) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := server.New(server.Options{Data: data, OperatorListen: ":8080", InsecureOperator: true}); err != nil {
		t.Error(err)
	}
}
