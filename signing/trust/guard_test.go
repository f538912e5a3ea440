package trust

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// hostile documents that go-tuf by itself accepts, or panics on.
var hostile = map[string]string{
	"a short key":       `{"signed":{"_type":"root","spec_version":"1.0.31","version":1,"expires":"2099-01-01T00:00:00Z","keys":{"a":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"abcdef"}}},"roles":{"root":{"keyids":["a"],"threshold":1},"timestamp":{"keyids":["a"],"threshold":1},"snapshot":{"keyids":["a"],"threshold":1},"targets":{"keyids":["a"],"threshold":1}}},"signatures":[{"keyid":"a","sig":"00"}]}`,
	"another major":     `{"signed":{"_type":"root","spec_version":"2.0.0"},"signatures":[]}`,
	"no specification":  `{"signed":{"_type":"root"},"signatures":[]}`,
	"null":              `null`,
	"a list":            `[]`,
	"nothing":           ``,
	"null in the place": `{"signed":null,"signatures":null}`,
}

func TestGuardRefuses(t *testing.T) {
	for name, document := range hostile {
		if _, err := start([]byte(document)); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzGuard holds that no document makes the rules panic, in any role.
func FuzzGuard(f *testing.F) {
	for _, document := range hostile {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tm, err := start(b)
		if err == nil && tm.Root == nil {
			t.Fatal("verified nothing")
		}
		empty := &trustedmetadata.TrustedMetadata{
			Root: metadata.Root(), Targets: map[string]*metadata.Metadata[metadata.TargetsType]{},
		}
		if err := guard(b, func() error { _, err := empty.UpdateTimestamp(b); return err }); err == nil {
			t.Fatal("accepted a timestamp that nobody signed")
		}
	})
}

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
