package uboot

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/boot"
	"github.com/waxwing-ota/waxwing/agent/boot/boottest"
)

// TestMain lets the test binary stand for the two commands: as they do, it takes its place from its name, and the
// environment's place from beside it.
func TestMain(m *testing.M) {
	env := filepath.Join(filepath.Dir(os.Args[0]), "env")
	switch filepath.Base(os.Args[0]) {
	case "fw_printenv":
		b, err := os.ReadFile(env)
		if err != nil {
			fmt.Fprintln(os.Stderr, "Cannot read environment, using default")
			os.Exit(1)
		}
		os.Stdout.Write(b)
		os.Exit(0)
	case "fw_setenv":
		if !slices.Equal(os.Args[1:], []string{"-s", "-"}) {
			fmt.Fprintln(os.Stderr, "one script is expected")
			os.Exit(2)
		}
		vars := load(env)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			name, value, _ := strings.Cut(in.Text(), " ")
			vars[name] = value
			if value == "" {
				delete(vars, name)
			}
		}
		store(env, vars)
		os.Exit(0)
	}
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil { // or each command takes a second under -race
		panic(err)
	}
	os.Exit(m.Run())
}

func load(path string) boot.Vars {
	b, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	vars := boot.Vars{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		vars[name] = value
	}
	return vars
}

func store(path string, vars boot.Vars) {
	var b strings.Builder
	for name, value := range vars {
		fmt.Fprintf(&b, "%s=%s\n", name, value)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		panic(err)
	}
}

type board struct {
	dir    string
	active string
}

func newBoard(t *testing.T) *board {
	b := &board{dir: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fw_printenv", "fw_setenv"} {
		if err := os.Symlink(self, filepath.Join(b.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	store(filepath.Join(b.dir, "env"), boot.Vars{"bootdelay": "2", "bootargs": "a=b c=d", "BOOT_ORDER": "A B", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "3"})
	return b
}

// PowerOn is RAUC's script, which knows nothing of WAXWING_TRIAL.
func (b *board) PowerOn(t *testing.T) string {
	path := filepath.Join(b.dir, "env")
	vars := load(path)
	slot, changes, err := vars.Start()
	if err != nil {
		t.Fatal(err)
	}
	delete(changes, boot.VarTrial)
	maps.Copy(vars, changes)
	store(path, vars)
	b.active = slot
	return slot
}

func (b *board) Loader(*testing.T) boot.Loader { return b.loader() }

func (b *board) loader() *Loader {
	return New(Options{Active: b.active, Print: filepath.Join(b.dir, "fw_printenv"), Set: filepath.Join(b.dir, "fw_setenv")})
}

func TestLoader(t *testing.T) {
	boottest.Run(t, func(t *testing.T) boottest.Board { return newBoard(t) })
}

func TestDoctor(t *testing.T) {
	b := newBoard(t)
	if err := b.loader().Doctor(context.Background(), []string{"a", "b"}); err != nil {
		t.Error(err)
	}
	if got := load(filepath.Join(b.dir, "env"))["bootargs"]; got != "a=b c=d" {
		t.Error("other variables have changed:", got)
	}
	if err := b.loader().Doctor(context.Background(), []string{"x"}); err == nil {
		t.Error("slot x is not there")
	}
	if err := os.Remove(filepath.Join(b.dir, "env")); err != nil {
		t.Fatal(err)
	}
	err := b.loader().Doctor(context.Background(), []string{"a"})
	if err == nil || !strings.Contains(err.Error(), "fw_env.config") {
		t.Error(err)
	}
}
