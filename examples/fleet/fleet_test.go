package fleet

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// bin is the folder of what a fleet is made of.
var bin string

// TestMain builds the programs once for all tests. No two of them run at the same time: each is a whole fleet.
func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (code int, err error) {
	if bin, err = os.MkdirTemp("", "waxwing-bin-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(bin)
	for _, args := range [][]string{
		{"../../server/cmd/waxwing-server", "../../server/cmd/waxwing"},
		{"-tags", "nethttpomithttp2", "../../agent/cmd/waxwing-agent"},
	} {
		cmd := exec.Command("go", append([]string{"build", "-o", bin + "/"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("%w\n%s", err, out)
		}
	}
	return m.Run(), nil
}

// start begins a fleet that ends with the test. When the test has failed, it shows the last words of every program.
func start(t *testing.T, o Options) *Fleet {
	t.Helper()
	o.Bin, o.Source, o.Out = bin, "../..", t.Output()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	f, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			f.lastWords(t.Output())
		}
	})
	return f
}

// TestStory plays the demo.
func TestStory(t *testing.T) {
	f := start(t, Options{})
	if err := f.Play(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Measure(t.Output())
}
