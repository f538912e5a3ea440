// Package blobtest is the conformance suite of blob.Store.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/server/blob"
)

// Run tests a kind of store; open returns a new empty one.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for name, test := range map[string]func(*testing.T, blob.Store){
		"what was put is got": putGet, "missing": missing, "bad keys": badKeys, "wrong sizes": wrongSizes,
		"ranges": ranges, "list": list, "readers see whole blobs": wholeBlobs, "ended context": ended, "batches": batches,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func put(t *testing.T, s blob.Store, key, content string) {
	t.Helper()
	if err := s.Put(t.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
}

func get(ctx context.Context, s blob.Store, key string) (string, error) {
	b, err := s.Get(ctx, key)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(b)
	if err == nil && int64(len(content)) != b.Size() {
		err = fmt.Errorf("a size of %d, and the content has %d", b.Size(), len(content))
	}
	return string(content), errors.Join(err, b.Close())
}

func putGet(t *testing.T, s blob.Store) {
	for _, content := range []string{"first", "", strings.Repeat("long ", 100_000), "second"} {
		put(t, s, "a/b/c.bin", content)
		if got, err := get(t.Context(), s, "a/b/c.bin"); err != nil || got != content {
			t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(content))
		}
		if size, err := s.Stat(t.Context(), "a/b/c.bin"); err != nil || size != int64(len(content)) {
			t.Fatalf("stat %d %v", size, err)
		}
	}
	for range 2 {
		if err := s.Delete(t.Context(), "a/b/c.bin"); err != nil {
			t.Fatal(err)
		}
	}
	missing(t, s)
}

func missing(t *testing.T, s blob.Store) {
	put(t, s, "a/file", "x")
	for _, key := range []string{"a/b/c.bin", "nothing", "a", "a/file/below"} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("get %s: %v", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stat %s: %v", key, err)
		}
	}
	if err := s.Delete(t.Context(), "a/file/below"); err != nil {
		t.Error(err)
	}
}

func badKeys(t *testing.T, s blob.Store) {
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", ".", "./a", ".tmp/x", "a/.hidden", "a b", "a\x00", `a\b`, "ä", "a/\n",
		strings.Repeat("k", 513),
	} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("get %q: %v", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("stat %q: %v", key, err)
		}
		if err := s.Put(t.Context(), key, strings.NewReader("x"), 1); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("put %q: %v", key, err)
		}
		if err := s.Delete(t.Context(), key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("delete %q: %v", key, err)
		}
	}
}

func wrongSizes(t *testing.T, s blob.Store) {
	put(t, s, "k", "kept")
	for _, size := range []int64{0, 2, 4, 1 << 40} {
		if err := s.Put(t.Context(), "k", strings.NewReader("new"), size); !errors.Is(err, blob.ErrSize) {
			t.Errorf("put of 3 bytes as %d: %v", size, err)
		}
	}
	broken := errors.New("broken")
	if err := s.Put(t.Context(), "k", io.MultiReader(strings.NewReader("ne"), failing{broken}), 3); !errors.Is(err, broken) {
		t.Errorf("put of a broken reader: %v", err)
	}
	if got, err := get(t.Context(), s, "k"); err != nil || got != "kept" {
		t.Errorf("after failed puts: %q %v", got, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func ranges(t *testing.T, s blob.Store) {
	put(t, s, "k", "0123456789")
	b, err := s.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, at := range []int64{7, 0, 3} {
		if _, err := b.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 3)
		if _, err := io.ReadFull(b, got); err != nil || string(got) != "0123456789"[at:at+3] {
			t.Fatalf("at %d: %q %v", at, got, err)
		}
	}
	if end, err := b.Seek(0, io.SeekEnd); err != nil || end != 10 {
		t.Fatalf("end %d %v", end, err)
	}
}

func list(t *testing.T, s blob.Store) {
	keys := []string{"a/1", "a/2", "ab/1", "b/c/d", "b/c/e", "top"}
	for i, key := range keys {
		put(t, s, key, strings.Repeat("x", i))
	}
	for prefix, want := range map[string][]string{
		"": keys, "a": {"a/1", "a/2", "ab/1"}, "a/": {"a/1", "a/2"}, "b/c/e": {"b/c/e"}, "none/": {}, "zzz": {},
	} {
		got := map[string]int64{}
		if err := s.List(t.Context(), prefix, func(key string, size int64) error {
			got[key] = size
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(append([]string{}, want...), append([]string{}, slices.Sorted(maps.Keys(got))...)); d != "" {
			t.Errorf("list %q: %s", prefix, d)
		}
		for key, size := range got {
			if size != int64(slices.Index(keys, key)) {
				t.Errorf("%s has %d bytes", key, size)
			}
		}
	}
	enough := errors.New("enough")
	if err := s.List(t.Context(), "", func(string, int64) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("list that ends early: %v", err)
	}
	if err := s.List(t.Context(), "../", func(string, int64) error { return nil }); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("list outside: %v", err)
	}
}

// wholeBlobs overwrites one blob from many sides; a reader must only see one of the contents.
func wholeBlobs(t *testing.T, s blob.Store) {
	contents := [][]byte{bytes.Repeat([]byte("a"), 70_000), bytes.Repeat([]byte("b"), 130_000), bytes.Repeat([]byte("c"), 10)}
	put(t, s, "x/k", string(contents[0]))
	g, ctx := errgroup.WithContext(t.Context())
	for _, content := range contents {
		g.Go(func() error {
			for range 10 {
				if err := s.Put(ctx, "x/k", bytes.NewReader(content), int64(len(content))); err != nil {
					return err
				}
			}
			return nil
		})
		g.Go(func() error {
			for range 20 {
				got, err := get(ctx, s, "x/k")
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(contents, func(c []byte) bool { return string(c) == got }) {
					return fmt.Errorf("read a blob of %d bytes that nobody wrote", len(got))
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func ended(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, "k", strings.NewReader("x"), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
}

// batches puts many blobs at once, over what is there too, in several commits and from several goroutines.
func batches(t *testing.T, s blob.Store) {
	put(t, s, "b/00/old", "before")
	batch := blob.NewBatch(s)
	want := map[string]string{"b/00/old": "after"}
	for round := range 3 {
		g, ctx := errgroup.WithContext(t.Context())
		for i := range 40 {
			want[fmt.Sprintf("b/%02d/%d", i%7, round*40+i)] = strings.Repeat("x", i)
			g.Go(func() error {
				content := []byte(strings.Repeat("x", i))
				err := batch.Put(ctx, fmt.Sprintf("b/%02d/%d", i%7, round*40+i), bytes.NewReader(content), int64(i))
				clear(content) // the batch has taken it
				return err
			})
		}
		g.Go(func() error { return batch.Put(ctx, "b/00/old", strings.NewReader("after"), 5) })
		if round == 1 {
			g.Go(func() error { return batch.Commit(ctx) }) // beside Put
		}
		if err := errors.Join(g.Wait(), batch.Commit(t.Context())); err != nil {
			t.Fatal(err)
		}
		for key, content := range want {
			if got, err := get(t.Context(), s, key); err != nil || got != content {
				t.Fatalf("round %d: %s is %q, %v", round, key, got, err)
			}
		}
	}
	if err := errors.Join(batch.Commit(t.Context()), batch.Put(t.Context(), "../x", strings.NewReader(""), 0)); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("bad key: %v", err)
	}
	if err := batch.Put(t.Context(), "b/00/old", strings.NewReader("short"), 9); !errors.Is(err, blob.ErrSize) {
		t.Errorf("wrong size: %v", err)
	}
	if err := batch.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := s.List(t.Context(), "b/", func(string, int64) error { n++; return nil }); err != nil || n != len(want) {
		t.Errorf("%d blobs of %d, %v", n, len(want), err)
	}
}
