package oidc_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/server/auth/oidc"
	"github.com/waxwing-ota/waxwing/server/auth/oidc/oidctest"
)

// security case 67: whatever is wrong with a token, it is refused, and a good one is taken right after.
func TestRefused(t *testing.T) {
	i := oidctest.Start(t)
	v := oidc.New(oidc.Options{Roots: i.Roots()})
	other := oidctest.Start(t)
	rs := func(more ...string) map[string]any {
		h := map[string]any{"alg": "RS256", "kid": "rsa"}
		for n := 0; n < len(more); n += 2 {
			h[more[n]] = more[n+1]
		}
		return h
	}
	now := time.Now()
	for what, raw := range map[string]string{
		"nothing":                    "",
		"no token":                   "a.b",
		"no JSON":                    "e30.e30x.e30",
		"alg none":                   i.SignAs(map[string]any{"alg": "none"}, nil),
		"HS256 with the RSA key":     i.SignAs(map[string]any{"alg": "HS256", "kid": "rsa"}, nil),
		"another issuer's key":       other.SignAs(rs(), map[string]any{"iss": i.URL}),
		"another issuer":             other.Sign(nil),
		"no issuer":                  i.Sign(map[string]any{"iss": ""}),
		"the issuer with a slash":    i.Sign(map[string]any{"iss": i.URL + "/"}),
		"expired":                    i.Sign(map[string]any{"exp": now.Add(-time.Second).Unix()}),
		"without an end":             i.Sign(map[string]any{"exp": nil}),
		"nbf in two minutes":         i.Sign(map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}),
		"nbf in ten minutes":         i.Sign(map[string]any{"nbf": now.Add(10 * time.Minute).Unix()}),
		"of the future":              i.Sign(map[string]any{"iat": now.Add(time.Hour).Unix()}),
		"a megabyte":                 i.Sign(map[string]any{"pad": strings.Repeat("x", 1<<20)}),
		"a key of another algorithm": i.SignAs(map[string]any{"alg": "ES256", "kid": "rsa"}, nil),
		"a signature cut off":        strings.TrimRight(i.Sign(nil), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"),
		"jku of somebody else":       other.SignAs(rs("jku", other.URL+"/keys", "kid", "rsa"), map[string]any{"iss": i.URL}),
		"x5u of somebody else":       other.SignAs(rs("x5u", other.URL+"/keys"), map[string]any{"iss": i.URL}),
		"crit that nobody knows":     i.SignAs(map[string]any{"alg": "RS256", "kid": "rsa", "crit": []string{"exp"}}, nil),
	} {
		if got, err := v.Verify(t.Context(), raw, []string{i.URL}); !errors.Is(err, oidc.ErrToken) && !errors.Is(err, oidc.ErrIssuer) {
			t.Errorf("%s: %+v %v", what, got, err)
		}
	}
	if n := other.Asks.Load(); n != 0 {
		t.Errorf("an issuer that nobody trusts was asked %d times", n)
	}
	for _, kid := range []string{"../../etc/passwd", "x' OR '1'='1", strings.Repeat("k", 4000)} {
		if _, err := v.Verify(t.Context(), i.SignAs(rs("kid", kid), nil), []string{i.URL}); err == nil {
			t.Errorf("kid %.40q was taken", kid)
		}
	}
	for _, alg := range []string{"RS256", "ES256"} {
		kid := map[string]string{"RS256": "rsa", "ES256": "ec"}[alg]
		got, err := v.Verify(t.Context(), i.SignAs(map[string]any{"alg": alg, "kid": kid}, map[string]any{"ref_protected": true, "project_id": 12}), []string{i.URL})
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if got.Issuer != i.URL || got.Subject != "job" || got.Audience[0] != "waxwing" || got.Claims["ref_protected"] != "true" || got.Claims["project_id"] != "12" {
			t.Errorf("%+v", got)
		}
	}
}

// Forged tokens do not make this server hammer its issuer, and do not keep good ones out.
func TestSeldom(t *testing.T) {
	i := oidctest.Start(t)
	v := oidc.New(oidc.Options{Roots: i.Roots()})
	if _, err := v.Verify(t.Context(), i.Sign(nil), []string{i.URL}); err != nil {
		t.Fatal(err)
	}
	forged := i.SignAs(map[string]any{"alg": "RS256", "kid": "new"}, nil)
	for range 50 {
		if _, err := v.Verify(t.Context(), forged, []string{i.URL}); err == nil {
			t.Fatal("a key that nobody listed was taken")
		}
	}
	if n := i.Asks.Load(); n > 6 {
		t.Errorf("the keys were read %d times", n)
	}
	if _, err := v.Verify(t.Context(), i.Sign(nil), []string{i.URL}); err != nil {
		t.Error(err)
	}
}

func TestIssuer(t *testing.T) {
	i := oidctest.Start(t)
	for _, bad := range []string{"", "github", "http://issuer.example", "https://user@issuer.example", "https://issuer.example?x=1", "ftp://issuer.example"} {
		if oidc.CheckIssuer(bad) == nil {
			t.Errorf("%q may be an issuer", bad)
		}
	}
	for _, good := range []string{i.URL, "http://127.0.0.1:8000", "https://gitlab.example/sub"} {
		if err := oidc.CheckIssuer(good); err != nil {
			t.Error(err)
		}
	}
	// An issuer whose certificate nobody vouches for is none.
	if _, err := oidc.New(oidc.Options{}).Verify(t.Context(), i.Sign(nil), []string{i.URL}); !errors.Is(err, oidc.ErrIssuer) {
		t.Error(err)
	}
}

func FuzzVerify(f *testing.F) {
	v := oidc.New(oidc.Options{})
	f.Add("")
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2EifQ.")
	f.Fuzz(func(t *testing.T, raw string) {
		if got, err := v.Verify(t.Context(), raw, nil); err == nil {
			t.Fatalf("%+v", got)
		}
	})
}
