package blob_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
)

func TestFiles(t *testing.T) {
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := blob.Files{Store: s, Prefix: "repo/", Limit: 10}
	if _, err := f.Get(t.Context(), "metadata/1.root.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if err := f.Put(t.Context(), "metadata/1.root.json", []byte("root")); err != nil {
		t.Fatal(err)
	}
	if b, err := f.Get(t.Context(), "metadata/1.root.json"); err != nil || string(b) != "root" {
		t.Fatalf("%q %v", b, err)
	}
	if size, err := s.Stat(t.Context(), "repo/metadata/1.root.json"); err != nil || size != 4 {
		t.Fatalf("%d %v", size, err)
	}
	if err := f.Put(t.Context(), "big", []byte(strings.Repeat("x", 11))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Get(t.Context(), "big"); err == nil || !strings.Contains(err.Error(), "over 10") {
		t.Fatalf("got %v", err)
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, key := range []string{"a/b", "../a", "a/./b", ".", "a//b", "repo/metadata/1.root.json"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if blob.CheckKey(key) == nil && (!filepath.IsLocal(key) || filepath.Clean(key) != key) {
			t.Fatalf("%q may leave its folder", key)
		}
	})
}
