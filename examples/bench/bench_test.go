package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/examples/bench/child"
	"github.com/waxwing-ota/waxwing/examples/bench/images"
)

// TestMain lets the test be the program that does the heavy work, too.
func TestMain(m *testing.M) {
	if asked, err := Inside(os.Args[1:], os.Stdout); asked {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// trees makes pairs of small trees, with an image of each.
type trees struct{ dir string }

func (t trees) Build(ctx context.Context, name string) (images.Pair, error) {
	if name == "none" {
		return images.Pair{}, fmt.Errorf("there is nothing")
	}
	random := rand.NewChaCha8([32]byte{1})
	library, text := make([]byte, 1<<20), []byte(strings.Repeat("All work and no play makes a dull bird.\n", 5000))
	random.Read(library)
	changed := append(append(append([]byte{}, library[:500_000]...), "a few bytes more"...), library[500_016:]...)
	for tree, files := range map[string]map[string][]byte{
		"old": {"lib/1.0/library.so": library, "text": text},
		"new": {"lib/1.1/library.so": changed, "text": text, "added": library[:1000]},
	} {
		for path, content := range files {
			path = filepath.Join(t.dir, tree, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return images.Pair{}, err
			}
			if err := os.WriteFile(path, content, 0o644); err != nil {
				return images.Pair{}, err
			}
		}
		if err := images.Ext4(ctx, filepath.Join(t.dir, tree), filepath.Join(t.dir, tree+".img"), 8); err != nil {
			return images.Pair{}, err
		}
	}
	return images.Pair{
		Old: filepath.Join(t.dir, "old.img"), New: filepath.Join(t.dir, "new.img"),
		OldTree: filepath.Join(t.dir, "old"), NewTree: filepath.Join(t.dir, "new"), Renames: []string{"1.0", "1.1"},
	}, nil
}

// TestCase measures a small upgrade with every tool that is there.
func TestCase(t *testing.T) {
	for _, tool := range []string{"mke2fs", "debugfs"} {
		if _, err := child.Find(tool); err != nil {
			needs.Lack(t, err)
		}
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/", "../../server/cmd/waxwing").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	b := New(Options{
		Images: trees{t.TempDir()}, Bin: bin, Dir: dir, Runs: 1, Speed: []string{"small"}, TooMuch: 256 << 20, Patience: time.Minute,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	r, err := b.Case(t.Context(), "small")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	report := Report{Cases: []Result{r}}
	report.Table(&table)
	t.Log(table.String())

	if len(r.Methods) != len(ways()) {
		t.Errorf("%d methods", len(r.Methods))
	}
	for _, m := range r.Methods {
		switch {
		case m.Failed != "":
			t.Errorf("%s: %s", m.Name, m.Failed)
		case m.Left != "":
			if !strings.Contains(m.Left, "not installed") {
				t.Errorf("%s: left out: %s", m.Name, m.Left)
			}
		case m.Bytes <= 0 || m.Bytes > 1<<21 || m.Make == nil || m.Make.Seconds <= 0 || m.Make.Peak < 1<<20:
			t.Errorf("%s: %+v, %+v", m.Name, m, m.Make)
		}
		if !strings.Contains(table.String(), m.Name) {
			t.Errorf("the table has no %s", m.Name)
		}
	}
	w := r.method(waxwing)
	if w == nil || w.Bytes != w.Waxwing.Total || w.Waxwing.Index == 0 || w.Waxwing.Idle == 0 || w.Waxwing.Fetched <= w.Bytes {
		t.Errorf("waxwing: %+v", w)
	}
	// The library changed in its middle; whole files show it as one that changed, not as a new one.
	if m := r.method("bsdiff of each file"); m != nil && (m.Bytes > 10_000 || !strings.Contains(m.Remark, "of 1 changed and 1 new")) {
		t.Errorf("bsdiff of each file: %d bytes, %s", m.Bytes, m.Remark)
	}
	if s := r.Speed; s.PublishWaxwing == nil || s.AssembleWaxwing == nil || s.Copy == nil || s.Copy.Seconds() <= 0 {
		t.Errorf("speed: %+v", s)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	b2, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b2, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(report, back); d != "" {
		t.Error(d)
	}
}

// TestNoImages is for a case that cannot be built: it is said, and counted.
func TestNoImages(t *testing.T) {
	r, err := New(Options{Images: trees{}}).Case(t.Context(), "none")
	if err != nil || r.Failed != "there is nothing" {
		t.Errorf("%+v, %v", r, err)
	}
	report := Report{Cases: []Result{r}}
	if missed, failed := report.Missed(); missed != 0 || failed != 1 {
		t.Errorf("missed %d, failed %d", missed, failed)
	}
}

// TestPatience holds that a tool without an end does not keep the others from their turn, and that it is said.
func TestPatience(t *testing.T) {
	b := New(Options{Patience: 10 * time.Millisecond})
	_, err := b.patiently(t.Context(), nil, func(ctx context.Context, _ *update) (Method, error) {
		_, err := child.Run(ctx, "sleep", "3600")
		return Method{}, err
	})
	if m := reason(err); m.Left != "took longer than 10ms" {
		t.Errorf("%+v", m)
	}
	if _, err := b.patiently(t.Context(), nil, func(context.Context, *update) (Method, error) { return Method{}, errors.New("broken") }); err == nil || err.Error() != "broken" {
		t.Error(err)
	}
}

// TestServe holds that every byte of a body is counted, of ranges too, and none of what a device has.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"chunk": 1000, "old/index": 500} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, size), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := serve(t.Context(), dir, "/old/")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/chunk": 1000, "/old/index": 500, "/chunk?range": 10} {
		r, err := http.NewRequest(http.MethodGet, c.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "?range") {
			r.Header.Set("Range", "bytes=5-14")
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || len(b) != want {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
	}
	if sent, err := c.close(); err != nil || sent != 1010 {
		t.Errorf("%d bytes, %v", sent, err)
	}
}

// TestOnly holds that what nobody asked for has no row, and no bar.
func TestOnly(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"old", "new"} {
		if err := os.WriteFile(filepath.Join(dir, name), noise(10_000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := New(Options{
		Images: pair{Old: filepath.Join(dir, "old"), New: filepath.Join(dir, "new")}, Dir: dir,
		Only: []string{"fixed"}, Patience: time.Minute, Log: slog.New(slog.DiscardHandler),
	})
	r, err := b.Case(t.Context(), "ext4")
	if err != nil || len(r.Methods) != 1 || r.Methods[0].Failed != "" || len(r.Bars) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

type pair images.Pair

func (p pair) Build(context.Context, string) (images.Pair, error) { return images.Pair(p), nil }
