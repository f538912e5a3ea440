package dir

import (
	"context"
	"errors"
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
		left, err := os.ReadDir(filepath.Join(s.root, temporary))
		if err != nil {
			t.Fatal(err)
		}
		named := 0
		if err := s.List(t.Context(), "", func(string, int64) error { named++; return nil }); err != nil {
			t.Fatal(err)
		}
		return whole(named, len(left))
	}
	b := &batch{s: s, flusher: f}
	for _, key := range []string{"c/00/a", "c/01/b", "c/01/c"} {
		if err := b.Put(t.Context(), key, strings.NewReader(key), int64(len(key))); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *batch) end(t *testing.T, wantNamed, wantLeft int) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	named := 0
	err := b.s.List(t.Context(), "", func(string, int64) error { named++; return nil })
	left, err2 := os.ReadDir(filepath.Join(b.s.root, temporary))
	if err := errors.Join(err, err2); err != nil || named != wantNamed || len(left) != wantLeft {
		t.Fatalf("%d blobs and %d temporary files, %v", named, len(left), err)
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
	b.end(t, 3, 0)
}

func TestFailedFlushNamesNothing(t *testing.T) {
	broken := errors.New("the medium is broken")
	b := watched(t, func(int, int) error { return broken })
	if err := b.Commit(t.Context()); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	b.end(t, 0, 0)
}

func TestClosedBatchLeavesNothing(t *testing.T) {
	watched(t, func(int, int) error { return nil }).end(t, 0, 0)
}

// TestFlushesOneByOne is for systems that cannot flush a file system.
func TestFlushesOneByOne(t *testing.T) {
	b := watched(t, func(int, int) error { return errors.ErrUnsupported })
	var flushed []string
	b.flusher.each = func(path string) error {
		rel, err := filepath.Rel(b.s.root, path)
		if strings.HasPrefix(rel, temporary) {
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
	b.end(t, 3, 0)
}

func TestEndedContextNamesNothing(t *testing.T) {
	b := watched(t, func(int, int) error { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	b.end(t, 0, 0)
}
