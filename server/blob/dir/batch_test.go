package dir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// watched is a batch whose flushes call back with how many blobs have their name and how many wait.
func watched(t *testing.T, whole func(named, temporary int) error) *batch {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFlusher(s.root)
	if err != nil {
		t.Fatal(err)
	}
	f.whole = func(*os.File) error {
		named, left := count(t, s)
		return whole(named, left)
	}
	list, err := os.Create(filepath.Join(s.root, temporary, "batch-1"))
	if err != nil {
		t.Fatal(err)
	}
	b := &batch{s: s, flusher: f, list: list}
	for _, key := range []string{"c/00/a", "c/01/b", "c/01/c"} {
		if err := b.Put(t.Context(), key, strings.NewReader(key), int64(len(key))); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// count returns how many blobs there are, and how many other files.
func count(t *testing.T, s *Store) (named, left int) {
	t.Helper()
	if err := s.List(t.Context(), "", func(string, int64) error { named++; return nil }); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(s.root, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), "batch-") {
			left++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return named, left - named
}

func (b *batch) end(t *testing.T, wantNamed int) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	lists, err := os.ReadDir(filepath.Join(b.s.root, temporary))
	if named, left := count(t, b.s); err != nil || named != wantNamed || left != 0 || len(lists) != 0 {
		t.Fatalf("%d blobs, %d temporary files, %d lists, %v", named, left, len(lists), err)
	}
}

// TestNoNameBeforeTheBytesAreSafe is what a power cut relies on.
func TestNoNameBeforeTheBytesAreSafe(t *testing.T) {
	var seen [][2]int
	b := watched(t, func(named, temporary int) error {
		seen = append(seen, [2]int{named, temporary})
		return nil
	})
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([][2]int{{0, 3}, {3, 0}}, seen); d != "" {
		t.Fatal(d)
	}
	b.end(t, 3)
}

func TestFailedFlushNamesNothing(t *testing.T) {
	broken := errors.New("the medium is broken")
	b := watched(t, func(int, int) error { return broken })
	if err := b.Commit(t.Context()); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	b.end(t, 0)
}

func TestClosedBatchLeavesNothing(t *testing.T) {
	watched(t, func(int, int) error { return nil }).end(t, 0)
}

// TestFlushesOneByOne is for systems that cannot flush a file system.
func TestFlushesOneByOne(t *testing.T) {
	b := watched(t, func(int, int) error { return errors.ErrUnsupported })
	var flushed []string
	b.flusher.each = func(path string) error {
		rel, err := filepath.Rel(b.s.root, path)
		if strings.Contains(rel, waitingPrefix) {
			rel = "bytes"
		}
		flushed = append(flushed, rel)
		return errors.Join(err, flushOne(path))
	}
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"bytes", "bytes", "bytes", "c/00", "c", ".", "c/01"}, flushed); d != "" {
		t.Fatal(d)
	}
	b.end(t, 3)
}

func TestEndedContextNamesNothing(t *testing.T) {
	b := watched(t, func(int, int) error { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	b.end(t, 0)
}

// TestKilledBatchIsSwept opens a store again that a process left in the middle of a batch.
func TestKilledBatchIsSwept(t *testing.T) {
	b := watched(t, func(int, int) error { return nil })
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"c/00/d", "e/f"} {
		if err := b.Put(t.Context(), key, strings.NewReader(key), int64(len(key))); err != nil {
			t.Fatal(err)
		}
	}
	if named, left := count(t, b.s); named != 3 || left != 2 {
		t.Fatalf("%d blobs, %d waiting", named, left)
	}
	s, err := Open(b.s.root)
	if err != nil {
		t.Fatal(err)
	}
	if named, left := count(t, s); named != 3 || left != 0 {
		t.Errorf("%d blobs, %d waiting after the next start", named, left)
	}
}

// TestDamagedListRemovesNothing holds that a list can only name what waits.
func TestDamagedListRemovesNothing(t *testing.T) {
	b := watched(t, func(int, int) error { return nil })
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), ".put-1-1")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(b.s.root, outside)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{
		"c/00/a\n.\n..\n/\n\n" + outside + "\n" + rel + "\nc/00/a/.put-1-1\n", strings.Repeat("x", 1<<20), "c/0", "\x00\n",
	} {
		if err := os.WriteFile(filepath.Join(b.s.root, temporary, "batch-1"), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(b.s.root)
		if err != nil {
			t.Fatalf("%.20q: %v", list, err)
		}
		if named, _ := count(t, s); named != 3 {
			t.Errorf("%.20q: %d blobs", list, named)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}
