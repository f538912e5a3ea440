package trust

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzRecord holds that a damaged store is noticed and never read half.
func FuzzRecord(f *testing.F) {
	dir := f.TempDir()
	v := &vault{dir: dir}
	if err := v.save(&record{Roots: [][]byte{[]byte("root")}, Counters: map[string]uint64{"gw": 7}}); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(v.names()[1])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "trust.0")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, r, err := read(name); err == nil && string(b) != string(whole) && r == nil {
			t.Fatal("read nothing without an error")
		}
	})
}
