package policy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
)

func signer(t testing.TB) (*keys.File, *policy.Keys) {
	t.Helper()
	k, err := keys.Generate(filepath.Join(t.TempDir(), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return k, &policy.Keys{Schema: 1, Policy: public.Any(k.Public())}
}

func TestSealAndOpen(t *testing.T) {
	k, trusted := signer(t)
	_, others := signer(t)
	e, err := policy.Seal(install(policy.ForGroup, "all"), k)
	if err != nil {
		t.Fatal(err)
	}
	document, err := policy.Open(e, trusted)
	if p, ok := document.(*policy.Policy); err != nil || !ok || p.Release.Version != "1" {
		t.Fatalf("%+v, %v", document, err)
	}
	for name, c := range map[string]struct {
		e    []byte
		keys *policy.Keys
		want error
	}{
		"another key":  {e, others, policy.ErrSignature},
		"no keys":      {e, nil, policy.ErrSignature},
		"other bytes":  {[]byte(strings.Replace(string(e), "eyJ", "eyK", 1)), trusted, policy.ErrSignature},
		"another type": {[]byte(strings.Replace(string(e), "policy+json", "other+json", 1)), trusted, policy.ErrSignature},
		"cut":          {e[:len(e)/2], trusted, policy.ErrMalformed},
		"too long":     {make([]byte, policy.MaxEnvelopeSize+1), trusted, policy.ErrMalformed},
	} {
		if _, err := policy.Open(c.e, c.keys); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeysAndGrants holds who may grant, and that no key speaks for both sides (security case 33).
func TestKeysAndGrants(t *testing.T) {
	server, _ := signer(t)
	a, _ := signer(t)
	b, _ := signer(t)
	grant := &policy.Grant{
		Schema: 1, Audience: policy.Audience{Kind: policy.ForGroup, Name: "all"}, Release: *install(policy.ForGroup, "all").Release,
		IssuedAt: at, ExpiresAt: at.Add(time.Hour),
	}
	rule := func(threshold int, of ...*keys.File) *policy.Keys {
		k := &policy.Keys{Schema: 1, Policy: public.Any(server.Public()), Grants: &public.Rule{Threshold: threshold}}
		for _, f := range of {
			k.Grants.Keys = append(k.Grants.Keys, f.Public())
		}
		return k
	}
	for name, c := range map[string]struct {
		keys *policy.Keys
		by   []policy.Signer
		good bool
	}{
		"its key":                   {rule(1, a), []policy.Signer{a}, true},
		"two of two":                {rule(2, a, b), []policy.Signer{a, b}, true},
		"one of two":                {rule(2, a, b), []policy.Signer{a}, false},
		"the policy key":            {rule(1, a), []policy.Signer{server}, false},
		"a key of both rules":       {rule(1, server), []policy.Signer{server}, false},
		"a key of both for another": {rule(2, server, a), []policy.Signer{server, a}, false},
		"beside a key of both":      {rule(2, server, a, b), []policy.Signer{server, a, b}, true},
		"no rule":                   {&policy.Keys{Schema: 1, Policy: public.Any(server.Public())}, []policy.Signer{server}, false},
	} {
		e, err := policy.Seal(grant, c.by...)
		if err != nil {
			t.Fatal(err)
		}
		if g, err := policy.OpenGrant(e, c.keys); (err == nil) != c.good || err == nil && *g != *grant {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
		if _, err := policy.Open(e, c.keys); err == nil {
			t.Errorf("%s: a grant is opened as a policy", name)
		}
	}
	p, err := policy.Seal(install(policy.ForGroup, "all"), a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policy.OpenGrant(p, rule(1, a)); !errors.Is(err, policy.ErrMalformed) {
		t.Errorf("a policy is a grant: %v", err)
	}
	for name, spoil := range map[string]func(*policy.Grant){
		"schema":   func(g *policy.Grant) { g.Schema = 2 },
		"audience": func(g *policy.Grant) { g.Audience.Name = "../x" },
		"kind":     func(g *policy.Grant) { g.Audience.Kind = "fleet" },
		"release":  func(g *policy.Grant) { g.Release.Counter = 0 },
		"times":    func(g *policy.Grant) { g.ExpiresAt = g.IssuedAt },
	} {
		g := *grant
		spoil(&g)
		if _, err := policy.Seal(&g, a); !errors.Is(err, policy.ErrMalformed) {
			t.Errorf("%s: sealed, or %v", name, err)
		}
	}
}

// TestLife holds how long a policy may live (security case 29).
func TestLife(t *testing.T) {
	for _, c := range []struct {
		days int
		life time.Duration
		good bool
	}{{0, 1e6 * time.Hour, true}, {3, 72 * time.Hour, true}, {3, 72*time.Hour + 1, false}} {
		if k := (&policy.Keys{MaxDays: c.days}); k.Allows(at, at.Add(c.life)) != c.good {
			t.Errorf("%d days for %s: %v", c.days, c.life, !c.good)
		}
	}
	_, k := signer(t)
	for _, days := range []int{-1, 1 << 40} {
		k.MaxDays = days
		b, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.ParseKeys(b); !errors.Is(err, policy.ErrMalformed) {
			t.Errorf("%d days: %v", days, err)
		}
	}
}

// TestEveryFieldNull puts null, another kind and a second copy in the place of each field of each document, signed as it is:
// none is opened, and none panics (security case 17).
func TestEveryFieldNull(t *testing.T) {
	k, trusted := signer(t)
	p := install(policy.ForGroup, "all")
	p.Window, p.Cohort.Devices, p.Health.Probes = &policy.Window{End: 1}, []string{"d-1"}, []string{"x"}
	p.Rollout, p.SnapshotFloor, p.Priority, p.Grant = "r", 1, 1, []byte("g")
	m := &policy.Membership{Schema: 1, Device: "d-1", Groups: []string{"all"}, Seq: 1, IssuedAt: at, ExpiresAt: at.Add(1)}
	n := 0
	for kind, document := range map[string]any{policy.PolicyType: p, policy.MembershipType: m} {
		b, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		open := func(payload []byte) error {
			sig, err := k.Sign(dsse.PAE(kind, payload))
			if err != nil {
				t.Fatal(err)
			}
			e, err := json.Marshal(map[string]any{
				"payloadType": kind, "payload": payload,
				"signatures": []public.Signature{{KeyID: k.Public().ID(), Algorithm: public.Ed25519, Sig: sig}},
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = policy.Open(e, trusted)
			return err
		}
		if err := open(b); err != nil {
			t.Fatal(err)
		}
		for _, field := range regexp.MustCompile(`"(\w+)":`).FindAllSubmatchIndex(b, -1) {
			key, from := string(b[field[2]:field[3]]), field[1]
			for how, instead := range map[string]string{
				"null": "null", "deep": strings.Repeat("[", 99) + strings.Repeat("]", 99), "huge": "1e99", "other": `[{"a":{}}]`,
			} {
				n++
				d := json.NewDecoder(bytes.NewReader(b[from:]))
				var old json.RawMessage
				if err := d.Decode(&old); err != nil {
					t.Fatal(err)
				}
				spoilt := string(b[:from]) + instead + string(b[from+len(old):])
				if err := open([]byte(spoilt)); !errors.Is(err, policy.ErrMalformed) {
					t.Errorf("%s %s: %v", key, how, err)
				}
			}
			for _, again := range []string{key, strings.ToUpper(key)} {
				spoilt := string(b[:field[2]-1]) + fmt.Sprintf("%q:1,", again) + string(b[field[2]-1:])
				if err := open([]byte(spoilt)); !errors.Is(err, policy.ErrMalformed) {
					t.Errorf("%s twice as %s: %v", key, again, err)
				}
			}
		}
	}
	if n < 100 {
		t.Fatalf("only %d were tried", n)
	}
}

// TestSealWritesNoNull lets a device without a group have a membership.
func TestSealWritesNoNull(t *testing.T) {
	k, trusted := signer(t)
	e, err := policy.Seal(&policy.Membership{Schema: 1, Device: "d-1", Seq: 1, IssuedAt: at, ExpiresAt: at.Add(1)}, k)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Open(e, trusted); err != nil {
		t.Fatal(err)
	}
}

// FuzzOpenGrant holds that nothing but a signed grant is opened.
func FuzzOpenGrant(f *testing.F) {
	k, trusted := signer(f)
	other, _ := signer(f)
	trusted.Policy, trusted.Grants = public.Any(other.Public()), &public.Rule{Keys: []public.Key{k.Public()}, Threshold: 1}
	g := &policy.Grant{
		Schema: 1, Audience: policy.Audience{Kind: policy.ForDevice, Name: "d-1"}, Release: *install(policy.ForGroup, "all").Release,
		IssuedAt: at, ExpiresAt: at.Add(1),
	}
	e, err := policy.Seal(g, k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e)
	f.Add([]byte(`{"payloadType":"application/vnd.waxwing.downgrade+json","payload":"e30=","signatures":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := policy.OpenGrant(b, trusted); err == nil && *got != *g {
			t.Fatalf("opened %+v", got)
		}
	})
}

// FuzzOpen holds that nothing but a signed, well-formed document is opened, whatever the bytes.
func FuzzOpen(f *testing.F) {
	k, trusted := signer(f)
	_, others := signer(f)
	p, _ := policy.Seal(install(policy.ForGroup, "all"), k)
	m, _ := policy.Seal(&policy.Membership{Schema: 1, Device: "d-1", Groups: []string{"all"}, Seq: 1, IssuedAt: at, ExpiresAt: at.Add(1)}, k)
	f.Add(p)
	f.Add(m)
	f.Add([]byte(`{"payloadType":"application/vnd.waxwing.policy+json","payload":"e30=","signatures":[{"keyid":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		document, err := policy.Open(b, trusted)
		if err != nil {
			return
		}
		if document == nil {
			t.Fatal("opened nothing")
		}
		if _, err := policy.Open(b, others); err == nil {
			t.Fatal("opened with a key that never signed")
		}
	})
}
