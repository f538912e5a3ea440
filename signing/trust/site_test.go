package trust_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// site is a repository in memory, its signers, and a device's way to it.
type site struct {
	t       testing.TB
	files   map[string][]byte
	repo    *repository.Repository
	keys    repository.Keys
	policy  *keys.File
	product *keys.File
	now     time.Time
	dir     string
	fetched []string
	fail    map[string]error // of a path, for the device
}

func (s *site) Get(_ context.Context, path string) ([]byte, error) {
	b, ok := s.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(b), nil
}

func (s *site) Put(_ context.Context, path string, b []byte) error {
	s.files[path] = slices.Clone(b)
	return nil
}

func (s *site) Fetch(_ context.Context, path string, limit int64) ([]byte, error) {
	s.fetched = append(s.fetched, path)
	b, ok := s.files[path]
	switch {
	case s.fail[path] != nil:
		return nil, s.fail[path]
	case !ok:
		return nil, trust.ErrNotFound
	case int64(len(b)) > limit:
		return nil, firmware.ErrTooLarge
	}
	return slices.Clone(b), nil
}

func key(t testing.TB) *keys.File {
	t.Helper()
	k, err := keys.Generate(filepath.Join(t.TempDir(), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{
		t: t, files: map[string][]byte{}, policy: key(t), product: key(t), dir: t.TempDir(),
		now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
	}
	s.keys = repository.Keys{Root: key(t), Targets: key(t), Snapshot: key(t), Timestamp: key(t)}
	var err error
	s.repo, err = repository.Create(t.Context(), s.options())
	s.must(err)
	s.must(s.repo.AddProduct(t.Context(), "gw", s.product.Public()))
	return s
}

func (s *site) options() repository.Options {
	return repository.Options{
		Files: s, Now: func() time.Time { return s.now }, PolicyKeys: public.Any(s.policy.Public()), Keys: s.keys,
	}
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) device() *trust.Trust {
	s.t.Helper()
	d, err := s.open()
	s.must(err)
	return d
}

func (s *site) open() (*trust.Trust, error) {
	return trust.Open(trust.Options{
		Dir: s.dir, Root: s.files["metadata/1.root.json"], Device: "d-1", Hardware: "arm64", Fetch: s,
		Now: func() time.Time { return s.now },
	})
}

// release publishes a release with one tiny payload and returns how a policy names it.
func (s *site) release(version string, counter uint64, hardware ...string) policy.Release {
	s.t.Helper()
	payload := []byte("payload of " + version)
	index := firmware.NewIndex(firmware.Chunking{Min: 1, Avg: 64, Max: 128},
		[]firmware.Chunk{{ID: firmware.Sum(payload), Size: uint32(len(payload))}}).Encode()
	if hardware == nil {
		hardware = []string{"arm64"}
	}
	m := firmware.Manifest{
		Schema: 1, Product: "gw", Version: version, Counter: counter, Hardware: hardware,
		Components: []firmware.Component{{
			Name: "rootfs", Handler: firmware.HandlerSlot, Size: int64(len(payload)), SHA256: firmware.Sum(payload),
			Index: firmware.File{Size: int64(len(index)), SHA256: firmware.Sum(index)},
		}},
	}
	b, err := m.Encode()
	s.must(err)
	role, err := s.repo.Role(s.t.Context(), "gw")
	s.must(err)
	targets := map[string][]byte{
		firmware.ManifestTarget("gw", version):        b,
		firmware.IndexTarget("gw", version, "rootfs"): index,
	}
	role, err = repository.SignRelease(role, "gw", targets, s.product, s.now)
	s.must(err)
	s.must(s.repo.Publish(s.t.Context(), "gw", role, targets))
	return policy.Release{
		Product: "gw", Version: version, Counter: counter, Length: int64(len(b)),
		Target: firmware.ManifestTarget("gw", version), SHA256: firmware.Sum(b),
	}
}

func (s *site) install(r policy.Release) *policy.Policy {
	return &policy.Policy{
		Schema: 1, Audience: policy.Audience{Kind: policy.ForGroup, Name: "all"}, Seq: 1, Action: policy.Install,
		IssuedAt: s.now, ExpiresAt: s.now.Add(72 * time.Hour), Release: &r,
		Cohort: policy.Cohort{Below: policy.Everyone}, Health: policy.Health{DeadlineSeconds: 60},
	}
}

func (s *site) membership(seq uint64, groups ...string) *policy.Membership {
	return &policy.Membership{Schema: 1, Device: "d-1", Groups: groups, Seq: seq, IssuedAt: s.now, ExpiresAt: s.now.Add(720 * time.Hour)}
}

func (s *site) seal(document any) []byte {
	s.t.Helper()
	e, err := policy.Seal(document, s.policy)
	s.must(err)
	return e
}

func (s *site) accept(d *trust.Trust, document any) {
	s.t.Helper()
	changed, err := d.Accept(s.seal(document))
	s.must(err)
	if !changed {
		s.t.Fatal("accepted, but nothing changed")
	}
}

func refused(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want an error that matches %q", err, want)
	}
}
