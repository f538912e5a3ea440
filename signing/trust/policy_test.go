package trust_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// TestGroupsOfOthers: a policy for a group that the membership does not list is refused, and what was accepted for one that it
// lists no more is dropped (security case 24). Back in the group, the same policy counts again.
func TestGroupsOfOthers(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	other := *p
	other.Audience.Name, other.Priority, other.Seq = "other", 9, 5
	_, err := d.Accept(s.seal(&other))
	refused(t, err, trust.ErrAudience)
	s.still(d, p)

	s.accept(d, s.membership(2, "other"))
	if got := d.Desired(); got != nil {
		t.Fatalf("it follows %+v", got)
	}
	s.accept(d, &other)
	s.still(d, &other)
	s.accept(d, s.membership(3, "all"))
	s.accept(d, p) // the same envelope as before
	s.still(d, p)
}

// TestPoliciesBeforeMembership bounds what waits for a membership: whoever owns the broker can replay every policy of a fleet.
func TestPoliciesBeforeMembership(t *testing.T) {
	s := newSite(t)
	r := s.release("1.0.0", 1)
	d := s.device()
	s.must(d.Refresh(t.Context()))
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		p := s.install(r)
		p.Audience.Name = fmt.Sprintf("g-%d", i)
		_, err = d.Accept(s.seal(p))
	}
	refused(t, err, trust.ErrAudience)
	s.accept(d, s.membership(1, "g-3"))
	if p := d.Desired(); p == nil || p.Audience.Name != "g-3" {
		t.Fatalf("it follows %+v", p)
	}
}

// TestNothingToDoOfAnother: also a policy without a wish is for whom it names (security case 25), and hold as well as none of
// one's own counts.
func TestNothingToDoOfAnother(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	for _, action := range []policy.Action{policy.None, policy.Hold} {
		q := *p
		q.Action, q.Audience = action, policy.Audience{Kind: policy.ForDevice, Name: "d-2"}
		_, err := d.Accept(s.seal(&q))
		refused(t, err, trust.ErrAudience)
		s.still(d, p)
	}
	q := *p
	q.Action, q.Audience = policy.Hold, policy.Audience{Kind: policy.ForDevice, Name: "d-1"}
	s.accept(d, &q)
	if got := d.Desired(); got == nil || got.Action != policy.Hold {
		t.Fatalf("it follows %+v", got)
	}
}

// TestSamePolicyAgain: ten thousand copies change nothing and write nothing (security case 27).
func TestSamePolicyAgain(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	records := func() (out string) {
		for _, name := range []string{"trust.0", "trust.1"} {
			info, err := os.Stat(filepath.Join(s.dir, name))
			s.must(err)
			b, err := os.ReadFile(filepath.Join(s.dir, name))
			s.must(err)
			out += fmt.Sprint(info.ModTime(), firmware.Sum(b))
		}
		return out
	}
	before, e := records(), s.seal(p)
	for range 10_000 {
		if changed, err := d.Accept(e); changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	if records() != before {
		t.Fatal("it wrote")
	}

	// An envelope that says the same in other bytes is neither news nor an alarm: anybody on the way can write it anew.
	var loose map[string]any
	s.must(json.Unmarshal(e, &loose))
	again, err := json.MarshalIndent(loose, "", "    ")
	s.must(err)
	if changed, err := d.Accept(again); changed || err != nil || records() != before {
		t.Fatal(changed, err)
	}
}

// TestOrder: of three in the wrong order only the newest counts (security case 28), and sequences do not fall with a restart.
func TestOrder(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	for _, c := range []struct {
		seq  uint64
		want error
	}{{7, nil}, {5, trust.ErrRollback}, {6, trust.ErrRollback}} {
		q := *p
		q.Seq = c.seq
		changed, err := d.Accept(s.seal(&q))
		if c.want != nil {
			refused(t, err, c.want)
		} else if err != nil || !changed {
			t.Fatal(changed, err)
		}
		d = s.device()
	}
	if got := d.Desired(); got == nil || got.Seq != 7 {
		t.Fatalf("it follows %+v", got)
	}
}

// TestTimesOfPolicies: each with its own error, an ended policy, one of a time that nothing else has reached, and one that
// lives longer than the offline keys allow (security case 29).
func TestTimesOfPolicies(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	s.policyKeys(policy.Keys{Schema: 1, Policy: public.Any(s.policy.Public()), MaxDays: 3})
	s.must(d.Refresh(t.Context()))
	for name, c := range map[string]struct {
		issued, life time.Duration
		want         error
	}{
		"ended":          {-2 * time.Hour, time.Hour, trust.ErrExpired},
		"lives too long": {0, 73 * time.Hour, trust.ErrLife},
		"of a far time":  {30 * 24 * time.Hour, time.Hour, trust.ErrStale},
		"good":           {0, 72 * time.Hour, nil},
	} {
		q := *p
		q.Seq, q.IssuedAt = 2, s.now.Add(c.issued)
		q.ExpiresAt = q.IssuedAt.Add(c.life)
		_, err := d.Accept(s.seal(&q))
		if c.want != nil {
			refused(t, err, c.want)
		} else {
			s.must(err)
		}
		if name == "of a far time" {
			refused(t, err, trust.ErrUntrusted) // ask the repository
			q.Action = policy.Hold              // to stop, no time is too far
			q.Audience = policy.Audience{Kind: policy.ForDevice, Name: "d-1"}
			s.accept(d, &q)
		}
	}
	if c := d.Clock(); c.Floor.After(s.now) {
		t.Errorf("a far time moved the floor to %s", c.Floor)
	}
}

// TestRevokedPolicyKey: a device that has slept does not follow a key that was revoked meanwhile: it asks the repository first
// (security case 30). What was accepted before vanishes with it.
func TestRevokedPolicyKey(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	stolen := s.policy
	s.policy = key(t)
	s.now = s.now.Add(10 * 24 * time.Hour)
	s.must(s.repo.Refresh(t.Context()))
	s.policyKeys(policy.Keys{Schema: 1, Policy: public.Any(s.policy.Public())})

	q := *p
	q.Seq, q.IssuedAt, q.ExpiresAt = 2, s.now, s.now.Add(time.Hour)
	e, err := policy.Seal(&q, stolen)
	s.must(err)
	_, err = d.Accept(e)
	refused(t, err, trust.ErrStale)
	s.must(d.Refresh(t.Context()))
	_, err = d.Accept(e)
	refused(t, err, trust.ErrUntrusted)
	if got := d.Desired(); got != nil {
		t.Fatalf("it follows %+v", got)
	}
	s.accept(d, s.membership(2, "all"))
	s.accept(d, &q)
	s.still(d, &q)
}

// TestRootEndsSooner: what ends first of the release plane counts, also when only the root has changed.
func TestRootEndsSooner(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	s.rotate(func(r *metadata.RootType) { r.Expires = s.now.Add(time.Hour) }, s.keys.Root)
	s.must(d.Refresh(t.Context()))
	q := *p
	q.Seq, q.IssuedAt = 2, s.now.Add(2*time.Hour)
	_, err := d.Accept(s.seal(&q))
	refused(t, err, trust.ErrStale)
}
