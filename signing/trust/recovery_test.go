package trust_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// TestFastForward: a stolen timestamp key signs the highest version there is. A root that replaces the key cures it; one that
// only adds a key does not, because the old document still verifies (security case 14).
func TestFastForward(t *testing.T) {
	for name, cure := range map[string]struct {
		with func(s *site, r *metadata.RootType, k keys.Signer)
		good bool
	}{
		"replaced": {func(s *site, r *metadata.RootType, k keys.Signer) { s.replace(r, "timestamp", k) }, true},
		"added":    {func(s *site, r *metadata.RootType, k keys.Signer) { s.add(r, "timestamp", k) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			d, p := s.follows("1.0.0", 1)
			honest := maps.Clone(s.files)
			s.timestamp(func(ts *metadata.TimestampType) { ts.Version = math.MaxInt64 })
			s.must(d.Refresh(t.Context()))
			s.files = honest
			refused(t, d.Refresh(t.Context()), trust.ErrRollback) // stuck, and alive
			s.still(d, p)

			next := key(t)
			s.rotate(func(r *metadata.RootType) { cure.with(s, r, next) }, s.keys.Root)
			s.keys.Timestamp = next
			s.timestamp(func(ts *metadata.TimestampType) { ts.Version++ })
			s.reopen()
			p2 := s.install(s.release("1.1.0", 2))
			p2.Seq = 2
			err := d.Refresh(t.Context())
			if !cure.good {
				refused(t, err, trust.ErrRollback)
				return
			}
			s.must(err)
			s.accept(d, p2)
			s.still(d, p2)
		})
	}
}

// TestAllKeysReplacedWhileAway: a device that slept for 14 months, while every key was replaced, comes back by the root chain
// alone (security case 83).
func TestAllKeysReplacedWhileAway(t *testing.T) {
	s := newSite(t)
	d, _ := s.follows("1.0.0", 1)
	s.must(d.Commit("gw", 1))
	old := s.policy
	for range 2 { // twice, seven months apart
		s.now = s.now.Add(213 * 24 * time.Hour)
		was := s.keys
		s.keys.Root, s.keys.Targets, s.keys.Snapshot, s.keys.Timestamp = key(t), key(t), key(t), key(t)
		s.rotate(func(r *metadata.RootType) {
			r.Expires = s.now.Add(365 * 24 * time.Hour).Truncate(time.Second)
			s.replace(r, "root", s.keys.Root)
			s.replace(r, "targets", s.keys.Targets)
			s.replace(r, "snapshot", s.keys.Snapshot)
			s.replace(r, "timestamp", s.keys.Timestamp)
		}, was.Root, s.keys.Root)
		targets := s.role("targets")
		s.policy = key(t)
		targets.Signed.Expires = s.now.Add(365 * 24 * time.Hour).Truncate(time.Second)
		targets.Signed.Version++
		role := s.role("gw")
		s.product = key(t)
		listed, id, err := keys.TUF(s.product.Public())
		s.must(err)
		targets.Signed.Delegations.Keys = map[string]*metadata.Key{id: listed}
		targets.Signed.Delegations.Roles[0].KeyIDs = []string{id}
		role.Signed.Version++
		role.Signed.Expires = targets.Signed.Expires
		ts := parsed[metadata.TimestampType](s, s.files["metadata/timestamp.json"])
		at := ts.Signed.Meta["snapshot.json"].Version
		snapshot := parsed[metadata.SnapshotType](s, s.files[fmt.Sprintf("metadata/%d.snapshot.json", at)])
		snapshot.Signed.Expires = targets.Signed.Expires
		s.files[fmt.Sprintf("metadata/%d.snapshot.json", at)] = forged(s, snapshot, s.keys.Snapshot)
		ts.Signed.Expires = targets.Signed.Expires
		s.files["metadata/timestamp.json"] = forged(s, ts, s.keys.Timestamp)
		s.online(map[string][]byte{"targets": forged(s, targets, s.keys.Targets), "gw": forged(s, role, s.product)})
		s.policyKeys(policy.Keys{Schema: 1, Policy: public.Any(s.policy.Public())})
	}
	p := s.install(s.release("2.0.0", 2))
	p.Seq = 2
	d = s.device()
	if c := d.Clock(); c.Doubt != trust.ClockAhead {
		t.Errorf("a device that slept does not doubt its clock: %+v", c)
	}
	_, err := d.Accept(s.seal(p))
	refused(t, err, trust.ErrUntrusted) // a key that it does not know yet
	s.must(d.Refresh(t.Context()))
	s.accept(d, s.membership(2, "all"))
	s.accept(d, p)
	s.still(d, p)
	if c := d.Clock(); c.Doubt != trust.ClockSure {
		t.Errorf("it still doubts: %+v", c)
	}
	s.policy = old
	p.Seq = 9
	_, err = d.Accept(s.seal(p))
	refused(t, err, trust.ErrUntrusted)
}

// TestRootExpired: nothing is installed, everything else goes on, and the next root cures it (security case 84).
func TestRootExpired(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	for range 110 { // the online roles are kept alive for longer than the root
		s.now = s.now.Add(80 * time.Hour)
		if s.now.After(time.Date(2027, 5, 2, 12, 0, 0, 0, time.UTC)) {
			break
		}
		s.must(s.repo.Refresh(t.Context()))
	}
	refused(t, d.Refresh(t.Context()), trust.ErrExpired)
	_, err := d.Manifest(t.Context(), p)
	refused(t, err, trust.ErrUnwanted)
	p.Seq, p.IssuedAt, p.ExpiresAt = 2, s.now, s.now.Add(time.Hour)
	_, err = d.Accept(s.seal(p))
	refused(t, err, trust.ErrStale)
	if got := s.device().Groups(); !slices.Equal(got, []string{"all"}) {
		t.Fatalf("it forgot %v", got)
	}
	s.rotate(func(r *metadata.RootType) { r.Expires = s.now.Add(365 * 24 * time.Hour).Truncate(time.Second) }, s.keys.Root)
	s.must(s.repo.Refresh(t.Context()))
	p = s.install(s.release("1.1.0", 2)) // the product's role had ended too
	p.Seq = 2
	s.must(d.Refresh(t.Context()))
	s.accept(d, s.membership(2, "all"))
	s.accept(d, p)
	s.still(d, p)
}
