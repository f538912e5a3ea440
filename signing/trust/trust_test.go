package trust_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// TestBothPlanesAgree follows one release all the way, and again after a restart.
func TestBothPlanesAgree(t *testing.T) {
	s := newSite(t)
	r := s.release("1.0.0", 1)
	d := s.device()
	s.must(d.Refresh(t.Context()))
	s.accept(d, s.membership(1, "all"))
	s.accept(d, s.install(r))

	p := d.Desired()
	if p == nil || p.Release.Version != "1.0.0" {
		t.Fatalf("desired %+v", p)
	}
	m, err := d.Manifest(t.Context(), p)
	s.must(err)
	index, err := d.Index(t.Context(), m, "rootfs")
	s.must(err)
	if index.Size() != m.Components[0].Size {
		t.Fatalf("index of %d bytes", index.Size())
	}
	if got := d.Groups(); !slices.Equal(got, []string{"all"}) {
		t.Fatalf("groups %v", got)
	}

	// A restart remembers all of it and fetches nothing again but what proves freshness.
	d = s.device()
	s.fetched = nil
	s.must(d.Refresh(t.Context()))
	m, err = d.Manifest(t.Context(), d.Desired())
	s.must(err)
	_, err = d.Index(t.Context(), m, "rootfs")
	s.must(err)
	if want := []string{"metadata/2.root.json", "metadata/timestamp.json"}; !slices.Equal(s.fetched, want) {
		t.Fatalf("fetched %v, want %v", s.fetched, want)
	}
}

// TestManifestRefuses holds that a policy moves nothing that the release plane does not say in the same words: a target that
// nobody delegates or lists (security cases 06, 32), other length or digest (security case 31), other hardware.
func TestManifestRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*site, *trust.Trust, *policy.Policy)
		want   error
	}{
		"other digest":  {func(_ *site, _ *trust.Trust, p *policy.Policy) { p.Release.SHA256[0] ^= 1 }, trust.ErrMismatch},
		"other length":  {func(_ *site, _ *trust.Trust, p *policy.Policy) { p.Release.Length++ }, trust.ErrMismatch},
		"other counter": {func(_ *site, _ *trust.Trust, p *policy.Policy) { p.Release.Counter = 9 }, trust.ErrMismatch},
		"unknown product": {func(_ *site, _ *trust.Trust, p *policy.Policy) {
			p.Release.Product, p.Release.Target = "other", "other/1.0.0/release.json"
		}, trust.ErrMismatch},
		"unlisted version":  {func(_ *site, _ *trust.Trust, p *policy.Policy) { p.Release.Target = "gw/9/release.json" }, trust.ErrMismatch},
		"committed newer":   {func(s *site, d *trust.Trust, _ *policy.Policy) { s.must(d.Commit("gw", 8)) }, trust.ErrCounter},
		"repository behind": {func(_ *site, _ *trust.Trust, p *policy.Policy) { p.SnapshotFloor = 99 }, trust.ErrRollback},
		"expired since": {func(s *site, d *trust.Trust, p *policy.Policy) {
			s.accept(d, p)
			s.now = s.now.Add(8 * 24 * time.Hour)
		}, trust.ErrExpired},
		"tampered manifest": {func(s *site, _ *trust.Trust, _ *policy.Policy) {
			for path := range s.files {
				if strings.HasSuffix(path, "release.json") {
					s.files[path][5] ^= 1
				}
			}
		}, trust.ErrUntrusted},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			p := s.install(s.release("1.0.0", 3))
			p.ExpiresAt = s.now.Add(720 * time.Hour)
			d := s.device()
			s.must(d.Refresh(t.Context()))
			_, err := d.Manifest(t.Context(), p)
			refused(t, err, trust.ErrUnwanted) // genuine, and nobody wants it here
			s.accept(d, s.membership(1, "all"))
			c.change(s, d, p)
			if e, err := policy.Seal(p, s.policy); err == nil { // what is malformed is not even sealed
				_, _ = d.Accept(e)
			}
			_, err = d.Manifest(t.Context(), p)
			refused(t, err, c.want)
		})
	}
	t.Run("wrong hardware", func(t *testing.T) {
		s := newSite(t)
		p := s.install(s.release("1.0.0", 3, "mips"))
		d := s.device()
		s.must(d.Refresh(t.Context()))
		s.accept(d, s.membership(1, "all"))
		s.accept(d, p)
		_, err := d.Manifest(t.Context(), p)
		refused(t, err, trust.ErrHardware)
	})
}

// TestAcceptRefuses: another device's documents (security case 23), sequences (security case 26), expiry (security case 29).
func TestAcceptRefuses(t *testing.T) {
	s := newSite(t)
	r := s.release("1.0.0", 1)
	d := s.device()
	_, err := d.Accept(s.seal(s.install(r)))
	refused(t, err, trust.ErrUntrusted) // no policy keys before the first refresh
	s.must(d.Refresh(t.Context()))

	p := s.install(r)
	p.Seq = 5
	s.accept(d, p)
	if changed, err := d.Accept(s.seal(p)); changed || err != nil {
		t.Fatalf("the same envelope again: %v, %v", changed, err)
	}
	p.Priority = 1
	_, err = d.Accept(s.seal(p))
	refused(t, err, trust.ErrEquivocation)
	p.Seq = 4
	_, err = d.Accept(s.seal(p))
	refused(t, err, trust.ErrRollback)

	stranger, err := policy.Seal(p, key(t))
	s.must(err)
	_, err = d.Accept(stranger)
	refused(t, err, trust.ErrUntrusted)

	m := s.membership(1, "all")
	m.Device = "d-2"
	_, err = d.Accept(s.seal(m))
	refused(t, err, trust.ErrAudience)
	p.Audience = policy.Audience{Kind: policy.ForDevice, Name: "d-2"}
	_, err = d.Accept(s.seal(p))
	refused(t, err, trust.ErrAudience)

	old := s.install(r)
	old.Seq, old.ExpiresAt = 6, s.now
	old.IssuedAt = s.now.Add(-time.Hour)
	_, err = d.Accept(s.seal(old))
	refused(t, err, trust.ErrExpired)
	_, err = d.Accept([]byte(`{"payloadType":"x"}`))
	refused(t, err, trust.ErrUntrusted)
	if d.Desired() != nil {
		t.Fatal("a policy counts without a membership")
	}
}

// TestRefreshRefuses: an older timestamp (security case 01), the same with other bytes (security case 02), another root than the
// next (security case 09), a snapshot that is not the one that is named (security case 03), expiry.
func TestRefreshRefuses(t *testing.T) {
	s := newSite(t)
	old := maps.Clone(s.files)
	s.release("1.0.0", 1)
	d := s.device()
	s.must(d.Refresh(t.Context()))
	newest := maps.Clone(s.files)

	s.files = old
	refused(t, d.Refresh(t.Context()), trust.ErrRollback)

	s.files = maps.Clone(newest)
	s.files["metadata/timestamp.json"] = append(slices.Clone(s.files["metadata/timestamp.json"]), '\n')
	refused(t, d.Refresh(t.Context()), trust.ErrEquivocation)

	s.files = maps.Clone(newest)
	s.files["metadata/2.root.json"] = s.files["metadata/1.root.json"]
	refused(t, d.Refresh(t.Context()), trust.ErrRollback)

	s.files = maps.Clone(newest)
	s.release("1.1.0", 2)
	for path, b := range s.files {
		if strings.HasSuffix(path, ".snapshot.json") && newest[path] == nil {
			b[len(b)/2] ^= 1
		}
	}
	refused(t, d.Refresh(t.Context()), trust.ErrUntrusted)

	s.files = newest
	s.must(d.Refresh(t.Context()))
	s.now = s.now.Add(30 * 24 * time.Hour)
	refused(t, d.Refresh(t.Context()), trust.ErrExpired)
	s.now = s.now.Add(-40 * 365 * 24 * time.Hour)
	s.must(d.Refresh(t.Context())) // a clock in the past stops nothing by itself
}

// TestEveryTornFile cuts, empties and flips each file of the store. The device must open again, refresh, and not take a
// policy older than one that it acted on, as long as one of the two records is whole.
func TestEveryTornFile(t *testing.T) {
	s := newSite(t)
	r := s.release("1.0.0", 1)
	d := s.device()
	s.must(d.Refresh(t.Context()))
	s.accept(d, s.membership(1, "all"))
	p := s.install(r)
	p.Seq = 7
	s.accept(d, p)
	_, err := d.Manifest(t.Context(), p)
	s.must(err)
	s.must(d.Commit("gw", 1))

	var names []string
	s.must(filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if !e.IsDir() {
			names = append(names, path)
		}
		return err
	}))
	pristine := s.dir
	for _, name := range names {
		for how, spoil := range map[string]func(string) error{
			"removed":     os.Remove,
			"emptied":     func(p string) error { return os.Truncate(p, 0) },
			"cut":         func(p string) error { return os.Truncate(p, 50) },
			"flipped":     func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("x", 500)), 0o600) },
			"a directory": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
		} {
			rel, _ := filepath.Rel(pristine, name)
			t.Run(rel+" "+how, func(t *testing.T) {
				s.t, s.dir = t, t.TempDir()
				s.must(os.CopyFS(s.dir, os.DirFS(pristine)))
				s.must(spoil(filepath.Join(s.dir, rel)))
				d := s.device()
				s.must(d.Refresh(t.Context()))
				low := s.install(r)
				low.Seq = 6
				_, err := d.Accept(s.seal(low))
				refused(t, err, trust.ErrRollback)
				if _, err := d.Manifest(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				s.must(d.Commit("gw", 2)) // and it can write again
			})
		}
	}
	t.Run("both records", func(t *testing.T) {
		s.t, s.dir = t, t.TempDir()
		s.must(os.CopyFS(s.dir, os.DirFS(pristine)))
		s.must(os.Truncate(filepath.Join(s.dir, "trust.0"), 9))
		s.must(os.Truncate(filepath.Join(s.dir, "trust.1"), 9))
		d, err := s.open()
		refused(t, err, trust.ErrRollback) // it says so
		s.must(d.Refresh(t.Context()))     // and works
	})
}
