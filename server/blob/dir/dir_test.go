package dir_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/blob/blobtest"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
)

func open(t testing.TB, root string) *dir.Store {
	t.Helper()
	s, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
}

func TestFilesOfACrashedPutAreGone(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if err := s.Put(t.Context(), "kept", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(root, ".tmp", "put-crashed")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, root)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Fatalf("the temporary file is still there: %v", err)
	}
	if size, err := s.Stat(t.Context(), "kept"); err != nil || size != 1 {
		t.Fatalf("%d %v", size, err)
	}
}

func TestFailedPutLeavesNoFile(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if err := s.Put(t.Context(), "k", strings.NewReader("xyz"), 2); err == nil {
		t.Fatal("no error")
	}
	if left, err := os.ReadDir(filepath.Join(root, ".tmp")); err != nil || len(left) != 0 {
		t.Fatalf("%v %v", left, err)
	}
}

func BenchmarkPut(b *testing.B) {
	s := open(b, b.TempDir())
	content := strings.Repeat("x", 32<<10)
	b.SetBytes(int64(len(content)))
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			i := n.Add(1)
			if err := s.Put(b.Context(), fmt.Sprintf("c/%02x/%d", i%256, i), strings.NewReader(content), int64(len(content))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// TestPutNew lets many put under one key at once: one does, and its bytes stay.
func TestPutNew(t *testing.T) {
	root := t.TempDir()
	stores := []*dir.Store{open(t, root), open(t, root)}
	var all sync.WaitGroup
	var won atomic.Int32
	for n := range 16 {
		all.Go(func() {
			err := stores[n%2].PutNew(t.Context(), "a/b", strings.NewReader(fmt.Sprintf("%02d", n)), 2)
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of them put", won.Load())
	}
	if left, err := os.ReadDir(filepath.Join(root, ".tmp")); err != nil || len(left) != 0 {
		t.Fatalf("%v %v", left, err)
	}
}
