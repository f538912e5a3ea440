package trust_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// follows opens a device that is refreshed and follows a policy of one release.
func (s *site) follows(version string, counter uint64) (*trust.Trust, *policy.Policy) {
	s.t.Helper()
	p := s.install(s.release(version, counter))
	d := s.device()
	s.must(d.Refresh(s.t.Context()))
	s.accept(d, s.membership(1, "all"))
	s.accept(d, p)
	return d, p
}

// still holds that a device goes on as it was, and that the next good input works.
func (s *site) still(d *trust.Trust, p *policy.Policy) {
	s.t.Helper()
	got := d.Desired()
	if got == nil || got.Seq != p.Seq {
		s.t.Fatalf("it follows %+v", got)
	}
	_, err := d.Manifest(s.t.Context(), got)
	s.must(err)
}

// TestSameVersionOtherBytes: whoever signs one version twice is told of, also where the timestamp has not the same version
// (security case 02).
func TestSameVersionOtherBytes(t *testing.T) {
	for name, forge := range map[string]func(s *site){
		"snapshot": func(s *site) {
			at := parsed[metadata.TimestampType](s, s.files["metadata/timestamp.json"]).Signed.Meta["snapshot.json"].Version
			path := fmt.Sprintf("metadata/%d.snapshot.json", at)
			snapshot := parsed[metadata.SnapshotType](s, s.files[path])
			snapshot.Signed.Expires = snapshot.Signed.Expires.Add(time.Second)
			s.files[path] = forged(s, snapshot, s.keys.Snapshot)
			s.timestamp(func(ts *metadata.TimestampType) {
				ts.Version++
				ts.Meta["snapshot.json"] = named(s.files[path], at)
			})
		},
		"targets": func(s *site) {
			targets := s.role("targets")
			targets.Signed.Expires = targets.Signed.Expires.Add(time.Second)
			s.online(map[string][]byte{"targets": forged(s, targets, s.keys.Targets)})
		},
		"product": func(s *site) {
			role := s.role("gw")
			role.Signed.Expires = role.Signed.Expires.Add(time.Second)
			s.online(map[string][]byte{"gw": forged(s, role, s.product)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			d, p := s.follows("1.0.0", 1)
			s.still(d, p)
			before := maps.Clone(s.files)
			forge(s)
			err := d.Refresh(t.Context())
			if err == nil {
				_, err = d.Manifest(t.Context(), p)
			}
			refused(t, err, trust.ErrEquivocation)
			if name != "product" { // nothing of it was kept
				s.files = before
				s.must(d.Refresh(t.Context()))
				s.still(d, p)
			}
		})
	}
}

// TestAnotherProductsKey: each product's key signs for its own paths and nothing else (security cases 05, 06).
func TestAnotherProductsKey(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	other := key(t)
	s.must(s.repo.AddProduct(t.Context(), "other", other.Public()))
	s.must(d.Refresh(t.Context()))
	s.still(d, p)

	role := s.role("gw")
	role.Signed.Version++
	s.online(map[string][]byte{"gw": forged(s, role, other)})
	s.must(d.Refresh(t.Context()))
	_, err := d.Manifest(t.Context(), p)
	refused(t, err, trust.ErrUntrusted)

	stolen := metadata.Targets(s.now.Add(time.Hour)) // the other product lists what is this one's
	maps.Copy(stolen.Signed.Targets, role.Signed.Targets)
	s.online(map[string][]byte{"other": forged(s, stolen, other), "gw": forged(s, role, s.product)})
	s.must(d.Refresh(t.Context()))
	q := *p
	q.Seq++
	q.Release = &policy.Release{
		Product: "other", Version: "1.0.0", Counter: 1, Target: firmware.ManifestTarget("other", "1.0.0"), Length: p.Release.Length, SHA256: p.Release.SHA256,
	}
	s.accept(d, &q)
	_, err = d.Manifest(t.Context(), &q)
	refused(t, err, trust.ErrMismatch)
	q.Release.Target = p.Release.Target
	_, err = d.Manifest(t.Context(), &q)
	refused(t, err, trust.ErrMismatch)
}

// TestRoots: a gap is not jumped (security case 09), old and new keys must both have signed (security case 10), and a device
// stays where it was (security case 13).
func TestRoots(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	next := key(t)
	change := func(r *metadata.RootType) { s.replace(r, "root", next) }
	for name, by := range map[string][]keys.Signer{"new only": {next}, "old only": {s.keys.Root}, "nobody": nil} {
		s.rotate(change, by...)
		if err := d.Refresh(t.Context()); !errors.Is(err, trust.ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
		delete(s.files, "metadata/2.root.json")
	}
	s.rotate(change, s.keys.Root, next)
	s.rotate(func(r *metadata.RootType) { s.replace(r, "timestamp", key(t)) }, next)
	two := s.files["metadata/2.root.json"]
	delete(s.files, "metadata/2.root.json")
	s.must(d.Refresh(t.Context())) // 3 without 2: as if there were none
	s.still(d, p)

	// With all of them it goes to 3, whose timestamp nobody has signed yet. From there it does not come back, although the
	// root that it was made with is 1, and the others are withheld.
	s.files["metadata/2.root.json"] = two
	refused(t, d.Refresh(t.Context()), trust.ErrUntrusted)
	delete(s.files, "metadata/2.root.json")
	delete(s.files, "metadata/3.root.json")
	refused(t, s.device().Refresh(t.Context()), trust.ErrUntrusted)
	if _, err := s.device().Accept(s.seal(s.membership(2, "all"))); err != nil {
		t.Fatal(err)
	}
}

// TestManyRoots walks a chain longer than one walk may be, in two (security case 11).
func TestManyRoots(t *testing.T) {
	s := newSite(t)
	s.release("1.0.0", 1)
	d := s.device()
	for range 300 {
		s.rotate(func(*metadata.RootType) {}, s.keys.Root)
	}
	s.rotate(func(r *metadata.RootType) { r.Expires = s.now.Add(time.Hour) }, s.keys.Root)
	fetched := func() (n int) {
		for _, path := range s.fetched {
			if strings.HasSuffix(path, ".root.json") {
				n++
			}
		}
		s.fetched = nil
		return n
	}
	s.must(d.Refresh(t.Context()))
	if n := fetched(); n != 256 {
		t.Fatalf("%d roots in one walk", n)
	}
	d = s.device() // and after a restart it does not begin anew
	s.must(d.Refresh(t.Context()))
	if n := fetched(); n != 301-256+1 {
		t.Fatalf("%d roots in the second walk", n)
	}
	s.now = s.now.Add(2 * time.Hour)
	refused(t, d.Refresh(t.Context()), trust.ErrExpired) // it is the last one that counts
}

// endless is a Fetcher that keeps no limit.
type endless struct{ *site }

func (e endless) Fetch(_ context.Context, _ string, limit int64) ([]byte, error) {
	return make([]byte, limit+1), nil
}

// TestServerTrouble: any answer but "there is none" for the next root ends the refresh, and what was accepted holds
// (security case 12). A file longer than its limit is not taken, whoever fetched it (security case 15).
func TestServerTrouble(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	for _, path := range []string{"metadata/2.root.json", "metadata/timestamp.json"} {
		for _, text := range []string{"403 Forbidden", "500 Internal Server Error"} {
			trouble := errors.New(text)
			s.fail = map[string]error{path: trouble}
			refused(t, d.Refresh(t.Context()), trouble)
			s.still(d, p)
		}
	}
	s.fail = nil
	s.must(d.Refresh(t.Context()))
	good := maps.Clone(s.files)
	s.files["metadata/2.root.json"] = make([]byte, 512_001)
	refused(t, d.Refresh(t.Context()), firmware.ErrTooLarge)
	s.files = maps.Clone(good)
	s.files["metadata/timestamp.json"] = append(s.files["metadata/timestamp.json"], make([]byte, 16_384)...)
	refused(t, d.Refresh(t.Context()), firmware.ErrTooLarge)
	s.files = good
	s.still(d, p)

	long, err := trust.Open(trust.Options{Dir: t.TempDir(), Root: good["metadata/1.root.json"], Fetch: endless{s}, Now: func() time.Time { return s.now }})
	s.must(err)
	refused(t, long.Refresh(t.Context()), firmware.ErrTooLarge)
}

// TestNamesThatAreNone: names of targets and roles that mean something to a file system or a URL are refused on the device,
// and nothing is asked for by them (security cases 20, 21).
func TestNamesThatAreNone(t *testing.T) {
	for _, name := range []string{
		"gw/1.0.0/../../etc/passwd", "/abs", "gw//b", ".", "..", "gw/.", "gw/1/x\x00y", "gw/1/a?b", "gw/1/a#b", "gw/1/%2e%2e",
		`gw/1/a\b`, "gw/1/" + strings.Repeat("x", 300), "gw/1/é", "gw/1/e\u0301", "gw/1/A", "", "gw/1/a b", "gw/1/.hidden",
	} {
		s := newSite(t)
		d, p := s.follows("1.0.0", 1)
		role := s.role("gw")
		role.Signed.Version++
		role.Signed.Targets[name] = role.Signed.Targets[p.Release.Target]
		s.online(map[string][]byte{"gw": forged(s, role, s.product)})
		s.must(d.Refresh(t.Context()))
		s.fetched = nil
		_, err := d.Manifest(t.Context(), p)
		refused(t, err, trust.ErrUntrusted)
		for _, path := range s.fetched {
			if path != fmt.Sprintf("metadata/%d.gw.json", role.Signed.Version) {
				t.Errorf("%q: asked for %s", name, path)
			}
		}
		_, _, err = d.Find(t.Context(), "gw", name)
		if err == nil {
			t.Errorf("found %q", name)
		}
		q := *p
		release := *p.Release
		q.Release, release.Target = &release, name
		_, err = d.Manifest(t.Context(), &q)
		refused(t, err, trust.ErrMismatch)
	}
	for _, name := range []string{"../x", "?", "CON", "", "timestamp", "gw", "a/b"} {
		s := newSite(t)
		d, _ := s.follows("1.0.0", 1)
		targets := s.role("targets")
		targets.Signed.Version++
		again := targets.Signed.Delegations.Roles[0]
		again.Name = name
		targets.Signed.Delegations.Roles = append(targets.Signed.Delegations.Roles, again)
		s.online(map[string][]byte{"targets": forged(s, targets, s.keys.Targets)})
		refused(t, d.Refresh(t.Context()), trust.ErrUntrusted)
	}
}

// TestOneBadComponent: a release whose third part is not what the manifest says does not get past the index of that part
// (security case 34). A device writes only after it has all of them.
func TestOneBadComponent(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	m, err := d.Manifest(t.Context(), p)
	s.must(err)
	for _, spoil := range []func(*firmware.Component){
		func(c *firmware.Component) { c.Index.SHA256[0] ^= 1 },
		func(c *firmware.Component) { c.Index.Size++ },
		func(c *firmware.Component) { c.Size++ },
		func(c *firmware.Component) { c.Name = "unlisted" },
	} {
		spoilt := *m
		bad := m.Components[0]
		spoil(&bad)
		spoilt.Components = []firmware.Component{bad}
		_, err := d.Index(t.Context(), &spoilt, bad.Name)
		refused(t, err, trust.ErrMismatch)
	}
	_, err = d.Index(t.Context(), m, "rootfs")
	s.must(err)
}
