package trust_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// fallen is a device that committed 3.0.0, counter 30, in a fleet with 1.0.0, 2.0.0 and 3.0.0, and a key for grants.
type fallen struct {
	*site
	d        *trust.Trust
	grants   *keys.File
	releases map[string]policy.Release
	seq      uint64
}

func newFallen(t *testing.T) *fallen {
	f := &fallen{site: newSite(t), grants: key(t), releases: map[string]policy.Release{}}
	for version, counter := range map[string]uint64{"1.0.0": 10, "2.0.0": 20, "3.0.0": 30, "4.0.0": 40} {
		f.releases[version] = f.release(version, counter)
	}
	f.policyKeys(policy.Keys{
		Schema: 1, Policy: public.Any(f.policy.Public()), MaxDays: 3,
		Grants: &public.Rule{Keys: []public.Key{f.grants.Public(), f.policy.Public()}, Threshold: 1},
	})
	f.d = f.device()
	f.must(f.d.Refresh(t.Context()))
	f.accept(f.d, f.membership(1, "all"))
	f.must(f.d.Commit("gw", 30))
	return f
}

func (f *fallen) grant(version string) *policy.Grant {
	return &policy.Grant{
		Schema: 1, Audience: policy.Audience{Kind: policy.ForGroup, Name: "all"}, Release: f.releases[version],
		IssuedAt: f.now, ExpiresAt: f.now.Add(24 * time.Hour),
	}
}

func (f *fallen) sealed(g *policy.Grant, by ...policy.Signer) []byte {
	f.t.Helper()
	b, err := policy.Seal(g, by...)
	f.must(err)
	return b
}

// wants lets the device accept a policy of a release with a grant, and asks for the manifest as the agent does, without it.
func (f *fallen) wants(version string, grant []byte) error {
	f.t.Helper()
	r := f.releases[version]
	p := f.install(r)
	f.seq++
	p.Seq, p.Grant = f.seq, grant
	f.accept(f.d, p)
	_, err := f.d.Manifest(f.t.Context(), &policy.Policy{Release: &r})
	return err
}

// TestDowngrade: a release below the committed counter needs a grant of the other key for exactly this release, audience and
// time, and goes never below the security floor (security case 33).
func TestDowngrade(t *testing.T) {
	for name, grant := range map[string]func(f *fallen) []byte{
		"no grant": func(*fallen) []byte { return nil },
		"by the policy key": func(f *fallen) []byte { // which the rule lists too
			return f.sealed(f.grant("2.0.0"), f.policy)
		},
		"by a stranger":       func(f *fallen) []byte { return f.sealed(f.grant("2.0.0"), key(f.t)) },
		"for another release": func(f *fallen) []byte { return f.sealed(f.grant("1.0.0"), f.grants) },
		"for another digest": func(f *fallen) []byte {
			g := f.grant("2.0.0")
			g.Release.SHA256[0] ^= 1
			return f.sealed(g, f.grants)
		},
		"for another counter": func(f *fallen) []byte {
			g := f.grant("2.0.0")
			g.Release.Counter++
			return f.sealed(g, f.grants)
		},
		"for another device": func(f *fallen) []byte {
			g := f.grant("2.0.0")
			g.Audience = policy.Audience{Kind: policy.ForDevice, Name: "d-2"}
			return f.sealed(g, f.grants)
		},
		"for another group": func(f *fallen) []byte {
			g := f.grant("2.0.0")
			g.Audience.Name = "other"
			return f.sealed(g, f.grants)
		},
		"ended": func(f *fallen) []byte {
			g := f.grant("2.0.0")
			g.IssuedAt, g.ExpiresAt = f.now.Add(-time.Hour), f.now
			return f.sealed(g, f.grants)
		},
		"lives too long": func(f *fallen) []byte {
			g := f.grant("2.0.0")
			g.ExpiresAt = f.now.Add(73 * time.Hour)
			return f.sealed(g, f.grants)
		},
		"no grant at all": func(f *fallen) []byte { return f.seal(f.membership(5)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFallen(t)
			refused(t, f.wants("2.0.0", grant(f)), trust.ErrCounter)
			f.must(f.d.Commit("gw", 20)) // whatever the caller says
			if n := f.d.Counter("gw"); n != 30 {
				t.Fatalf("committed is %d", n)
			}
		})
	}
	t.Run("below the security floor", func(t *testing.T) {
		f := newFallen(t)
		f.floor("3.0.0", 21)
		f.must(f.d.Refresh(t.Context()))
		refused(t, f.wants("2.0.0", f.sealed(f.grant("2.0.0"), f.grants)), trust.ErrCounter)
		f.must(f.wants("3.0.0", nil))

		f.dir = t.TempDir() // nor does a device that committed nothing
		f.d = f.device()
		f.must(f.d.Refresh(t.Context()))
		f.accept(f.d, f.membership(1, "all"))
		refused(t, f.wants("2.0.0", nil), trust.ErrCounter)
	})
}

// TestDowngradeOnce walks a device down by a grant, through a power cut between the loader and the counter, and up again: the
// grant takes it down no second time (security case 33).
func TestDowngradeOnce(t *testing.T) {
	f := newFallen(t)
	grant := f.sealed(f.grant("2.0.0"), f.grants)
	f.must(f.wants("2.0.0", grant))
	if n := f.d.Counter("gw"); n != 30 {
		t.Fatalf("committed fell to %d before anything was proven", n)
	}
	f.must(f.wants("2.0.0", grant)) // the download begins anew: another policy, the same grant
	f.now = f.now.Add(48 * time.Hour)
	for range 2 { // the commit is asked for again after a power cut, and after the grant has ended
		f.d = f.device()
		f.must(f.d.Commit("gw", 20))
		if n := f.d.Counter("gw"); n != 20 {
			t.Fatalf("committed is %d", n)
		}
	}
	f.now = f.now.Add(-48 * time.Hour)
	f.must(f.wants("2.0.0", nil)) // it runs this one: no grant is needed
	refused(t, f.wants("1.0.0", grant), trust.ErrCounter)
	f.must(f.wants("3.0.0", nil)) // up again, as it is free to
	f.must(f.d.Commit("gw", 30))
	refused(t, f.wants("2.0.0", grant), trust.ErrCounter)

	var loose map[string]any // the same grant in another envelope is the same grant
	f.must(json.Unmarshal(grant, &loose))
	again, err := json.MarshalIndent(loose, "", " ")
	f.must(err)
	refused(t, f.wants("2.0.0", again), trust.ErrCounter)

	g := f.grant("2.0.0") // a new one counts
	g.ExpiresAt = g.ExpiresAt.Add(time.Second)
	f.must(f.wants("2.0.0", f.sealed(g, f.grants)))
}

// TestDowngradeThatFails: the loader falls back, the counter has never fallen, and what follows is an ordinary update.
func TestDowngradeThatFails(t *testing.T) {
	f := newFallen(t)
	f.must(f.wants("2.0.0", f.sealed(f.grant("2.0.0"), f.grants)))
	f.must(f.wants("4.0.0", nil))
	f.must(f.d.Commit("gw", 40))
	f.must(f.d.Commit("gw", 20)) // the grant is not kept for later
	if n := f.d.Counter("gw"); n != 40 {
		t.Fatalf("committed is %d", n)
	}
}

// TestGrantOfPolicyOfAnother: a grant counts only inside a policy that this device follows.
func TestGrantOfPolicyOfAnother(t *testing.T) {
	f := newFallen(t)
	f.must(f.wants("2.0.0", f.sealed(f.grant("2.0.0"), f.grants)))
	f.accept(f.d, f.membership(2, "other"))
	r := f.releases["2.0.0"]
	_, err := f.d.Manifest(t.Context(), &policy.Policy{Release: &r})
	refused(t, err, trust.ErrUnwanted)
}
