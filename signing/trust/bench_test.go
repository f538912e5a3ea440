package trust_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// crowd lists as many releases more in the product's role, with a manifest and an index each.
func (s *site) crowd(releases int) {
	s.t.Helper()
	role := s.role("gw")
	for i := range releases {
		version := fmt.Sprintf("0.%d.%d", i/100, i%100)
		sum := firmware.Sum([]byte(version))
		for _, name := range []string{firmware.ManifestTarget("gw", version), firmware.IndexTarget("gw", version, "rootfs")} {
			role.Signed.Targets[name] = &metadata.TargetFiles{Length: 4096, Hashes: metadata.Hashes{"sha256": sum[:]}}
		}
	}
	role.Signed.Version++
	s.online(map[string][]byte{"gw": forged(s, role, s.product)})
	s.reopen()
}

// BenchmarkUpdate is what a device does to believe one update: refresh, accept a policy, manifest, index. Its memory holds the
// release before; the product lists as many releases as the name says.
func BenchmarkUpdate(b *testing.B) {
	for _, releases := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprint(releases), func(b *testing.B) {
			s := newSite(b)
			s.release("1.0.0", 1)
			s.crowd(releases - 2)
			d := s.device()
			s.must(d.Refresh(b.Context()))
			s.accept(d, s.membership(1, "all"))
			_, _, err := d.Find(b.Context(), "gw", "1.0.0")
			s.must(err)
			p := s.install(s.release("1.1.0", 2))
			e := s.seal(p)
			before := s.dir
			var bytes int64
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				s.dir = b.TempDir()
				s.must(os.CopyFS(s.dir, os.DirFS(before)))
				d := s.device()
				s.fetched = nil
				b.StartTimer()
				s.must(d.Refresh(b.Context()))
				_, err := d.Accept(e)
				s.must(err)
				m, err := d.Manifest(b.Context(), p)
				s.must(err)
				_, err = d.Index(b.Context(), m, "rootfs")
				s.must(err)
				bytes = 0
				for _, path := range s.fetched {
					bytes += int64(len(s.files[path]))
				}
			}
			b.ReportMetric(float64(bytes), "fetched-B/op")
			info, err := os.Stat(filepath.Join(s.dir, "trust.0"))
			s.must(err)
			b.ReportMetric(float64(info.Size()), "record-B")
		})
	}
}

// BenchmarkRefresh is a refresh that finds nothing new: what devices do each day.
func BenchmarkRefresh(b *testing.B) {
	s := newSite(b)
	d, _ := s.follows("1.0.0", 1)
	b.ReportAllocs()
	for b.Loop() {
		s.must(d.Refresh(b.Context()))
	}
}

// BenchmarkAccept is a new policy of a group, from the broker to the disk; its size is that of the envelope.
func BenchmarkAccept(b *testing.B) {
	for name, grant := range map[string]bool{"plain": false, "grant": true} {
		b.Run(name, func(b *testing.B) {
			s := newSite(b)
			d, p := s.follows("1.0.0", 1)
			p.Cohort.Salt, p.Rollout = "0123456789abcdef", "r-0123456789"
			if grant {
				g := &policy.Grant{Schema: 1, Audience: p.Audience, Release: *p.Release, IssuedAt: p.IssuedAt, ExpiresAt: p.ExpiresAt}
				var err error
				p.Grant, err = policy.Seal(g, key(b), key(b))
				s.must(err)
			}
			size := 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				p.Seq++
				p.IssuedAt = p.IssuedAt.Add(time.Millisecond)
				e := s.seal(p)
				size = len(e)
				b.StartTimer()
				_, err := d.Accept(e)
				s.must(err)
			}
			b.ReportMetric(float64(size), "envelope-B")
		})
	}
}
