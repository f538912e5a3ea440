package atomicfile_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"first", "", "third"} {
		if err := atomicfile.Write(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := atomicfile.Read(path, 5)
		if err != nil || string(got) != content {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Fatalf("%v, %v", info, err)
	}
	if _, err := atomicfile.Read(path, 4); err == nil {
		t.Fatal("read more than the limit")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Fatalf("left behind: %v", left)
	}
	if err := atomicfile.Write(filepath.Join(path, "below a file"), nil, 0o600); err == nil {
		t.Fatal("wrote below a file")
	}
}

// TestPairSurvivesEveryDamage harms the newest file in every way; the document before it is found, and a new one can be
// saved.
func TestPairSurvivesEveryDamage(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"torn":    func(p string) error { return os.Truncate(p, 50) },
		"empty":   func(p string) error { return os.Truncate(p, 0) },
		"removed": os.Remove,
		"flipped": func(p string) error {
			b, err := os.ReadFile(p)
			b[len(b)-1] ^= 4
			return errors.Join(err, os.WriteFile(p, b, 0o600))
		},
		"a directory": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p, got := atomicfile.OpenPair(dir, "d", 100, nil)
			if got != nil || p.Damaged() != 0 {
				t.Fatalf("a fresh pair has %q", got)
			}
			for _, document := range []string{"one", "two", "three"} { // generation 3 lies in d.1
				if err := p.Save([]byte(document)); err != nil {
					t.Fatal(err)
				}
			}
			if err := harm(filepath.Join(dir, "d.1")); err != nil {
				t.Fatal(err)
			}
			p, got = atomicfile.OpenPair(dir, "d", 100, nil)
			if string(got) != "two" || (p.Damaged() == 1) == (name == "removed") {
				t.Fatalf("%q, %d damaged", got, p.Damaged())
			}
			if err := p.Save([]byte("four")); err != nil {
				t.Fatal(err)
			}
			if _, got = atomicfile.OpenPair(dir, "d", 100, nil); string(got) != "four" {
				t.Fatalf("%q", got)
			}
			if err := p.Save(bytes.Repeat([]byte("x"), 101)); err == nil {
				t.Fatal("saved more than the limit")
			}
		})
	}
}

func FuzzPair(f *testing.F) {
	dir := f.TempDir()
	p, _ := atomicfile.OpenPair(dir, "d", 100, nil)
	if err := p.Save([]byte("document")); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "d.1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("wwp1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "d.0"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, got := atomicfile.OpenPair(dir, "d", 100, nil); got != nil && !bytes.HasSuffix(b, got) {
			t.Fatalf("read %q", got)
		}
	})
}
