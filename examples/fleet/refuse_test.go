package fleet

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

// TestRefusals asks the programs for what cannot be. Each says why and what to do instead, and changes nothing.
func TestRefusals(t *testing.T) {
	f := start(t, Options{Devices: 1, Image: 32})
	ctx := t.Context()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	server, err := os.ReadFile(filepath.Join(bin, "waxwing-server"))
	if err != nil {
		t.Fatal(err)
	}
	double := bytes.Repeat(server, 2)
	small, large := write("small", server[:1<<20]), write("large", double)
	if info, err := os.Stat(filepath.Join(f.dir, Device(0), "slot-a")); err != nil || info.Size() >= int64(len(double)) {
		t.Fatalf("the large image is not larger than a slot: %v %v", info, err)
	}
	secret := func(args ...string) string {
		out, err := f.run(ctx, append([]string{"token", "create", "-o", "json"}, args...)...)
		var made struct{ Secret string }
		if err != nil || json.Unmarshal([]byte(out), &made) != nil {
			t.Fatal(out, err)
		}
		return made.Secret
	}
	late, stale := secret("--ttl", "1s"), secret("--kind", "operator", "--scope", "read", "--ttl", "1s")
	once := secret("--uses", "1")
	create := func(version, hardware, image string) []string {
		return []string{"waxwing", "release", "create", "--product", Product, "--version", version, "--hardware", hardware, "--image", image}
	}
	roll := func(product, version string) []string {
		return []string{"waxwing", "rollout", "create", "--product", product, "--version", version}
	}
	enroll := func(id, token string) []string {
		return []string{
			"waxwing-agent", "enroll", "--server", f.listens.Device, "--token", token, "--data", filepath.Join(dir, id+token[4:8]),
			"--id", id, "--hardware", Hardware, "--virtual",
		}
	}
	for _, args := range [][]string{create("1.0.0", "another-board", small), create("2.0.0", Hardware, large), enroll("device-2", once)} {
		if out, err := f.program(t, args...); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	f.await(t, "the tokens have expired", func() bool {
		out, _ := f.program(t, "WAXWING_TOKEN="+stale, "waxwing", "whoami")
		return strings.Contains(out, "expired")
	})

	before := f.told(t)
	for _, c := range []struct {
		what, says string
		args       []string
	}{
		{"hardware of nobody", "none of the 2 devices", roll(Product, "1.0.0")},
		{"unknown product", "nothing", roll("nothing", "1.0.0")},
		{"unknown version", "9.9.9", roll(Product, "9.9.9")},
		{"unknown group", "no such group", append(roll(Product, "2.0.0"), "--group", "nobody")},
		{"unknown label", "labels in use are", []string{"waxwing", "group", "set", "x", "sight=x"}},
		{"empty image", "empty", create("3.0.0", Hardware, write("empty", nil))},
		{"other bytes", "new version", create("1.0.0", "another-board", write("other", server[1<<20:2<<20]))},
		{"expired operator", "expired", []string{"WAXWING_TOKEN=" + stale, "waxwing", "device", "list"}},
		{"expired enrolment", "expired", enroll("device-3", late)},
		{"token used up", "used", enroll("device-4", once)},
		{"id of another", "another id", enroll(Device(0), secret("--uses", "1"))},
	} {
		out, err := f.program(t, c.args...)
		if err == nil || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v: %swithout %q", c.what, err, out, c.says)
		}
	}
	after := f.told(t)
	for _, moves := range []string{"/tokens", "/audit"} { // of the token for the last one
		delete(before, moves)
		delete(after, moves)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("something has changed (-before +after):\n%s", diff)
	}

	// An image that is larger than the slot is refused by the device, which goes on as before.
	id, err := f.Begin(ctx, "2.0.0", "device-1")
	if err != nil {
		t.Fatal(err)
	}
	result, err := f.Finish(ctx, id, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(d client.RolloutDevice) bool {
		return d.Id == Device(0) && d.Reason != nil && *d.Reason == "too-large"
	}
	if !slices.ContainsFunc(result.Devices, refused) || result.Rollout.State != client.RolloutStateAborted {
		t.Errorf("%s: %+v", result.Rollout.State, result.Devices)
	}
	if s, _ := f.status(0); s.Report.Running.Slot != "a" || s.Report.Running.Version != "" {
		t.Errorf("the device runs %+v", s.Report.Running)
	}
}

// program runs one of the programs, after variables for it, and returns all that it says.
func (f *Fleet) program(t *testing.T, args ...string) (string, error) {
	t.Helper()
	env := append(os.Environ(), "WAXWING_SERVER="+f.URL, "WAXWING_TOKEN="+f.Token, "XDG_CONFIG_HOME="+f.dir)
	for ; strings.Contains(args[0], "="); args = args[1:] {
		env = append(env, args[0])
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, args[0]), args[1:]...)
	cmd.Env = env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
