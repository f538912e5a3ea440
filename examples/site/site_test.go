package site

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/cross/needs"
)

// build makes the programs of a site.
func build(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	for _, args := range [][]string{
		{"../../server/cmd/waxwing-server", "../../server/cmd/waxwing", "./cmd/hostile"},
		{"-tags", "nethttpomithttp2", "../../agent/cmd/waxwing-agent"},
	} {
		if out, err := exec.Command("go", append([]string{"build", "-o", bin + "/"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return bin
}

func root(t *testing.T) {
	t.Helper()
	needs.Root(t, "network namespaces")
}

// TestSite is a small instance of the bench. It judges bytes, which do not depend on what else the machine does, and holds
// that nothing is left behind.
func TestSite(t *testing.T) {
	root(t)
	before := interfaces(t)
	bin, dir := build(t), t.TempDir()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	scenarios, err := Choose("together")
	if err != nil {
		t.Fatal(err)
	}
	_, err = exec.LookPath("nft")
	o := Options{
		Bin: bin, Dir: dir, Devices: 4, Rate: "40mbit", Bytes: 2 << 20, NAT: err == nil, Words: t.Output(),
	}
	one, all, err := Measure(ctx, o, 1, scenarios...)
	if err != nil {
		t.Fatal(err)
	}
	if err := Print(t.Output(), one, all); err != nil {
		t.Fatal(err)
	}
	if one.Down < o.Bytes || one.Down > o.Bytes+o.Bytes/5 {
		t.Errorf("one device took %d bytes over the uplink for %d", one.Down, o.Bytes)
	}
	f := all[0]
	f.Seconds = 0 // is for machines that do nothing else
	for _, miss := range f.judge(scenarios[0]) {
		t.Error(miss)
	}
	if f.Finished != o.Devices || f.RSSMax == 0 || f.SentMax < o.Bytes/8 {
		t.Errorf("%+v", f)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s is left behind", left[0].Name())
	}
	if after := interfaces(t); after != before {
		t.Errorf("interfaces are %s, were %s", after, before)
	}
	if left := programs(t, bin); left != "" {
		t.Errorf("still running: %s", left)
	}
}

// TestHostileIsReported puts a device that gives wrong bytes, is silent or drips, to each another way, among three agents:
// they finish, and the server shows whom they accuse, and nobody else.
func TestHostileIsReported(t *testing.T) {
	root(t)
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	scenarios, err := Choose("malicious")
	if err != nil {
		t.Fatal(err)
	}
	r, err := play(ctx, Options{Bin: build(t), Dir: t.TempDir(), Rate: "40mbit", Bytes: 4 << 20, Words: t.Output()}, scenarios[0], 4)
	if err != nil {
		t.Fatal(err)
	}
	if r.Devices != 3 || r.Hostile != 1 || r.Reported != 1 || r.Slandered != 0 {
		t.Errorf("%d have finished; of %d hostile devices %d are accused, and %d others", r.Devices, r.Hostile, r.Reported, r.Slandered)
	}
}

// TestDepot holds that a site with a depot that has the release costs the uplink freshness only.
func TestDepot(t *testing.T) {
	root(t)
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	scenarios, err := Choose("depot")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Bin: build(t), Dir: t.TempDir(), Rate: "40mbit", Bytes: 4 << 20, Words: t.Output()}
	if why := scenarios[0].missing(ctx, o); why != "" {
		t.Fatal(why)
	}
	r, err := play(ctx, o, scenarios[0], 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes for the depot, %d for three devices", r.Stocked, r.Down)
	if r.Devices != 3 || r.Stocked < o.Bytes || r.Stocked > o.Bytes+o.Bytes/5 || r.Down > o.Bytes/33+3*perDevice {
		t.Errorf("%+v", r)
	}
}

func interfaces(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

// programs returns what runs out of a folder.
func programs(t *testing.T, dir string) (out string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, exe := range all {
		if to, err := os.Readlink(exe); err == nil && strings.HasPrefix(to, dir) {
			out += to + " "
		}
	}
	return out
}
