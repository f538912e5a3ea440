package images

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/examples/bench/child"
)

func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := child.Find(tool); err != nil {
			needs.Lack(t, err)
		}
	}
}

func TestStanzas(t *testing.T) {
	got := stanzas([]byte(`Package: libc6
Version: 2.36-9
Installed-Size: 3
Description: a library
 Version: not a field

Package: libc6
Version: 2.36-9

Package: libc6
Version: 2.36-10

Package: bash
Installed-Size: 9
`))
	want := map[string][]debian{"libc6": {{"libc6", "2.36-9", 3 << 10}, {"libc6", "2.36-10", 0}}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(debian{})); d != "" {
		t.Error(d)
	}
	got2 := downloads([]byte(" libc6 | 2.36-9 | http://host/debian bookworm/main amd64 Packages\n" +
		" libc6 | 2.36-9 | http://host/security bookworm/main amd64 Packages\n libc6 | 2.36-9 | http://host/debian bookworm/main Sources\n"))
	if d := cmp.Diff([]string{"libc6=2.36-9"}, got2); d != "" {
		t.Error(d)
	}
}

func TestNewestFirst(t *testing.T) {
	need(t, "dpkg")
	list := []debian{{version: "1.0-1"}, {version: "1.0-10"}, {version: "1:0.1"}, {version: "1.0-9"}, {version: "1.0~rc1"}}
	if err := newestFirst(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(list); got != "[=1:0.1 =1.0-10 =1.0-9 =1.0-1 =1.0~rc1]" {
		t.Error(got)
	}
}

// TestPick holds the shares of an image: what changes at most two fifths, all at most four.
func TestPick(t *testing.T) {
	const space = 100
	offers := map[string][]debian{}
	for i, name := range candidates() {
		offers[name] = []debian{{name, "2", 3}, {name, "1", 3}}
		if i%2 == 0 {
			offers[name] = offers[name][:1] // of which there is one version only
		}
	}
	for _, name := range fillers() {
		offers[name] = []debian{{name, "1", 7}}
	}
	s, changed := pick(offers, space)
	var before, used int64
	for i := range s.new {
		used += s.new[i].installed
		if differs := s.new[i].version != s.old[i].version; differs != (i < changed) || s.new[i].name != s.old[i].name {
			t.Errorf("%d: %v and %v", i, s.old[i], s.new[i])
		} else if differs {
			before += s.new[i].installed
		}
	}
	if changed != 13 || before > 40 || used > 80 || used < 70 {
		t.Errorf("%d changed, %d bytes of %d", changed, before, used)
	}
	if s, changed := pick(offers, 1000); changed != upgrades || s.new[0].version != "2" || s.old[0].version != "1" {
		t.Errorf("%d changed, %v", changed, s.new[0])
	}
	if _, changed := pick(nil, space); changed != 0 {
		t.Error("packages out of nothing")
	}
}

// TestExt4 holds that an image depends on nothing but the names and contents of its files.
func TestExt4(t *testing.T) {
	need(t, "mke2fs", "debugfs", "dumpe2fs")
	dir := t.TempDir()
	var made [2][]byte
	for i := range made {
		tree := filepath.Join(dir, fmt.Sprint("tree", i))
		if err := os.MkdirAll(filepath.Join(tree, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "sub/b"} {
			if err := os.WriteFile(filepath.Join(tree, name), []byte(name), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("a", filepath.Join(tree, "link")); err != nil {
			t.Fatal(err)
		}
		image := filepath.Join(dir, "image")
		if err := Ext4(t.Context(), tree, image, 4); err != nil {
			t.Fatal(err)
		}
		var err error
		if made[i], err = os.ReadFile(image); err != nil {
			t.Fatal(err)
		}
	}
	if string(made[0]) != string(made[1]) || len(made[0]) != 4<<20 {
		t.Error("two images of the same files differ")
	}
}

// TestKept holds that a folder is whole or not there, and that few are kept.
func TestKept(t *testing.T) {
	w := New(Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	broken := errors.New("broken")
	if _, err := w.kept("x", nil, func(string) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	built := 0
	build := func(dir string) error {
		built++
		return os.WriteFile(filepath.Join(dir, "f"), nil, 0o644)
	}
	var dirs []string
	for i := range 4 {
		for range 2 {
			dir, err := w.kept("x", []string{fmt.Sprint(i)}, build)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "f")); err != nil {
				t.Error(err)
			}
			dirs = append(dirs, dir)
		}
	}
	if built != 4 {
		t.Errorf("built %d times", built)
	}
	if _, err := os.Stat(dirs[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the oldest is still there: %v", err)
	}
	if entries, err := os.ReadDir(w.o.Dir); err != nil || len(entries) != recipes {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestEdits holds that the changes fit the standard library of this Go.
func TestEdits(t *testing.T) {
	w := New(Options{Source: "../../.."})
	root, _, err := w.golang(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := patched(root, dir); err != nil {
		t.Fatal(err)
	}
	for i, e := range edits() {
		name := filepath.Join(dir, fmt.Sprintf("edit%d.go", i))
		if _, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution); err != nil {
			t.Errorf("%s: %v", e.file, err)
		}
	}
}

func TestBuildWithoutArchive(t *testing.T) {
	w := New(Options{Offline: true, Dir: t.TempDir()})
	if _, err := w.Build(t.Context(), "kernel"); !errors.Is(err, errNoArchive) {
		t.Error(err)
	}
	if _, err := w.Build(t.Context(), "bread"); err == nil {
		t.Error("a case that does not exist")
	}
}
