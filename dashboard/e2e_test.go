package dashboard_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/examples/fleet"
)

// TestBrowser publishes a release and follows its rollout in a real browser, over a real server and devices, and looks
// at every screen; e2e/run.mjs tells what it does. With -artifacts its pictures are kept.
func TestBrowser(t *testing.T) {
	chromium := browser(t)
	bin := t.TempDir()
	run(t, exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "../server/cmd/waxwing-server", "../server/cmd/waxwing"))
	run(t, exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "-tags", "nethttpomithttp2", "../agent/cmd/waxwing-agent"))

	f, err := fleet.Start(t.Context(), fleet.Options{Bin: bin, Source: "..", Dir: t.TempDir(), Devices: 4, Image: 48, Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	// The devices run something before, so that the second release finds bytes to reuse.
	if _, err := f.Release(t.Context(), fleet.First, true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RollOut(t.Context(), fleet.First, "100%"); err != nil {
		t.Fatal(err)
	}
	const version = "2.0.0"
	image, err := f.Image(t.Context(), version, true)
	if err != nil {
		t.Fatal(err)
	}
	drive := exec.CommandContext(t.Context(), "node", "e2e/run.mjs", f.URL, f.Token, image, t.ArtifactDir())
	drive.Env = append(os.Environ(), "CHROMIUM="+chromium, "PRODUCT="+fleet.Product, "HARDWARE="+fleet.Hardware, "VERSION="+version)
	drive.Cancel = func() error { return drive.Process.Signal(os.Interrupt) } // it closes its browser
	drive.WaitDelay = 10 * time.Second
	run(t, drive)
}

// browser finds what the test needs, or skips it. Where everything has to be tested, a lack is a failure.
func browser(t *testing.T) string {
	t.Helper()
	for _, built := range []string{"dist/index.html", "node_modules/playwright-core/package.json"} {
		if _, err := os.Stat(filepath.FromSlash(built)); err != nil {
			needs.Lack(t, "the dashboard is not built; run `make dashboard`: ", err)
		}
	}
	if _, err := exec.LookPath("node"); err != nil {
		needs.Lack(t, "node is not installed: ", err)
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	needs.Lack(t, "no chromium; on Debian: apt-get install chromium")
	return ""
}

// run runs a program and shows what it says when it fails.
func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	t.Logf("%s\n%s", cmd, out)
	if err != nil {
		t.Fatal(err)
	}
}
