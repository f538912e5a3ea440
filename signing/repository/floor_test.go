package repository_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/repository"
	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

func (f *fixture) manifest(t *testing.T, version string, counter uint64) *firmware.Manifest {
	t.Helper()
	sum := firmware.Sum([]byte(version))
	m := &firmware.Manifest{
		Schema: 1, Product: "gw", Version: version, Counter: counter, Hardware: []string{"arm64"},
		Components: []firmware.Component{{Name: "rootfs", Handler: firmware.HandlerSlot, Size: 1, SHA256: sum, Index: firmware.File{Size: 1, SHA256: sum}}},
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	role, targets := f.sign(t, version, string(b))
	if err := f.repo.Publish(t.Context(), "gw", role, targets); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSecurityFloor raises it, which devices read, and never lowers it (security case 33).
func TestSecurityFloor(t *testing.T) {
	f := setUp(t)
	one, two := f.manifest(t, "1", 10), f.manifest(t, "2", 20)
	role := func() []byte {
		b, err := f.repo.Role(t.Context(), "gw")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	raised, err := repository.SignFloor(role(), "gw", two, f.gw, f.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.repo.Publish(t.Context(), "gw", raised, nil); err != nil {
		t.Fatal(err)
	}
	three := f.manifest(t, "3", 30) // the next release keeps it
	rules := f.device(t)
	if floor := rules.SecurityFloor("gw"); floor != 20 {
		t.Fatalf("devices read a floor of %d", floor)
	}
	if _, err := repository.SignFloor(role(), "gw", one, f.gw, f.now); !errors.Is(err, repository.ErrInvalid) {
		t.Errorf("lowered: %v", err)
	}
	other := *three
	other.Counter++
	if _, err := repository.SignFloor(role(), "gw", &other, f.gw, f.now); !errors.Is(err, repository.ErrInvalid) {
		t.Errorf("of a manifest that is not listed: %v", err)
	}
	md, err := new(metadata.Metadata[metadata.TargetsType]).FromBytes(role())
	if err != nil {
		t.Fatal(err)
	}
	md.Signed.Targets[firmware.ManifestTarget("gw", "2")].Custom = nil
	forgetful, err := md.ToBytes(true)
	if err != nil {
		t.Fatal(err)
	}
	if forgetful, err = repository.SignRelease(forgetful, "gw", nil, f.gw, f.now); err != nil {
		t.Fatal(err)
	}
	if err := f.repo.Publish(t.Context(), "gw", forgetful, nil); !errors.Is(err, repository.ErrInvalid) {
		t.Errorf("forgotten: %v", err)
	}
}

// TestNamesThatAreNotSigned refuses target names that mean something to a file system or a URL (security case 20).
func TestNamesThatAreNotSigned(t *testing.T) {
	f := setUp(t)
	for _, name := range []string{"gw/../../etc/passwd", "gw//x", "gw/.", "gw/1/x?y", "gw/1/x#y", "gw/1/%2e", `gw/1/a\b`, "gw/1/\x00", "gw/1/A"} {
		if _, err := repository.SignRelease(nil, "gw", map[string][]byte{name: []byte("x")}, f.gw, f.now); !errors.Is(err, repository.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// device reads the repository by the rules of one.
func (f *fixture) device(t *testing.T) *tuf.Rules {
	t.Helper()
	r, err := tuf.Start(f.disk.files["metadata/1.root.json"], f.now)
	if err != nil {
		t.Fatal(err)
	}
	read := func(role string, version int64) []byte {
		return f.disk.files[fmt.Sprintf("metadata/%d.%s.json", version, role)]
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.UpdateTimestamp(f.disk.files["metadata/timestamp.json"]))
	must(r.UpdateSnapshot(read("snapshot", r.Timestamp.Meta["snapshot.json"].Version), false))
	must(r.UpdateTargets(read("targets", r.Snapshot.Meta["targets.json"].Version)))
	must(r.UpdateProduct(read("gw", r.Snapshot.Meta["gw.json"].Version), "gw"))
	return r
}
