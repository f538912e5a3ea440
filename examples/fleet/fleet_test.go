package fleet_test

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/examples/fleet"
)

// programs builds what a fleet is made of, once for all tests of the package.
func programs(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	for _, args := range [][]string{
		{"../../server/cmd/waxwing-server", "../../server/cmd/waxwing"},
		{"-tags", "nethttpomithttp2", "../../agent/cmd/waxwing-agent"},
	} {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-o", bin + "/"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return bin
}

// TestStory plays the demo.
func TestStory(t *testing.T) {
	began := time.Now()
	f, err := fleet.Start(t.Context(), fleet.Options{Bin: programs(t), Source: "../..", Dir: t.TempDir(), Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := f.Play(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Measure(t.Output())
	if took := time.Since(began); took > 90*time.Second && os.Getenv("CI") != "true" {
		t.Logf("the story took %s; it is meant to take less than 90 s", took)
	}
}
