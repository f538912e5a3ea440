package envfile

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/boot"
	"github.com/waxwing-ota/waxwing/agent/boot/boottest"
)

type board struct {
	path   string
	active string
}

func (b *board) PowerOn(t *testing.T) string {
	slot, err := PowerOn(b.path)
	if err != nil {
		t.Fatal(err)
	}
	b.active = slot
	return slot
}

func (b *board) Loader(t *testing.T) boot.Loader {
	l, err := Open(b.path, b.active)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLoader(t *testing.T) {
	boottest.Run(t, func(t *testing.T) boottest.Board {
		path := filepath.Join(t.TempDir(), "boot.env")
		if err := Create(path, "a", "b"); err != nil {
			t.Fatal(err)
		}
		return &board{path: path}
	})
}

func TestForeignVariablesStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "boot.env")
	if err := os.WriteFile(path, []byte("# by hand\nbootdelay=2\nBOOT_ORDER=A B\nBOOT_A_LEFT=3\nBOOT_B_LEFT=3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := PowerOn(path); err != nil {
		t.Fatal(err)
	}
	vars, err := read(path)
	if err != nil || vars["bootdelay"] != "2" || vars["BOOT_A_LEFT"] != "2" {
		t.Error(vars, err)
	}
	if left, err := filepath.Glob(path + ".tmp*"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

func TestDoctor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "boot.env")
	if err := Create(path, "a", "b"); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Doctor(context.Background(), []string{"a", "b"}); err != nil {
		t.Error(err)
	}
	if err := l.Doctor(context.Background(), []string{"a", "c"}); err == nil {
		t.Error("slot c is not in the order")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("BOOT_ORDER=A B\nBOOT_A_LEFT=3\n"))
	f.Add([]byte("# x\n\nBOOT_ORDER=A"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if vars, err := Parse(b); err == nil {
			if _, _, err := vars.Start(); err != nil {
				t.Error(err)
			}
		}
	})
}
