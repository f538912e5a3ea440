package auth_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
)

// clock is a time that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func open(t *testing.T) (*auth.Auth, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	return auth.New(auth.Options{Store: storetest.New(t), Now: c.Now}), c
}

func refused(t *testing.T, what string, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v, want %v that says %q", what, err, want, says)
	}
}

func TestToken(t *testing.T) {
	a, c := open(t)
	token, secret, err := a.Create(t.Context(), "ci", []auth.Scope{auth.Release}, nil, time.Hour, "me")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(secret, "wxo_"+token.ID+"_") || strings.Contains(string(token.Hash), secret) {
		t.Errorf("%+v %s", token, secret)
	}
	p, err := a.Bearer(t.Context(), secret)
	if err != nil || p.Name != "ci" || p.Token != token.ID || p.Cookie {
		t.Errorf("%+v %v", p, err)
	}
	for what, bad := range map[string]string{
		"another secret": secret[:len(secret)-1] + "x", "no secret": "wxo_" + token.ID + "_", "no form": "secret",
		"another kind": "wxe" + secret[3:], "a path": "wxo_../x_y", "long": "wxo_a_" + strings.Repeat("b", 500),
	} {
		_, err := a.Bearer(t.Context(), bad)
		refused(t, what, err, auth.ErrInvalid, "not known here")
	}
	_, err = a.Bearer(t.Context(), "")
	refused(t, "nothing", err, auth.ErrMissing, "sign in")
	c.now = c.now.Add(time.Hour)
	_, err = a.Bearer(t.Context(), secret)
	refused(t, "too late", err, auth.ErrExpired, "waxwing token create")
	_, _, err = a.Create(t.Context(), "", nil, nil, 0, "me")
	refused(t, "no scopes", err, auth.ErrScopes, "at least one")
	_, _, err = a.Create(t.Context(), "", []auth.Scope{"everything"}, nil, 0, "me")
	refused(t, "unknown scope", err, auth.ErrScopes, "at least one")
}

func TestScopes(t *testing.T) {
	every := []auth.Scope{auth.Upload, auth.Sign, auth.Publish, auth.Start, auth.Read, auth.Release, auth.Rollout, auth.Device, auth.Admin}
	also := map[auth.Scope][]auth.Scope{
		auth.Release: {auth.Read, auth.Upload, auth.Sign, auth.Publish}, auth.Rollout: {auth.Read, auth.Start}, auth.Device: {auth.Read}, auth.Admin: every,
	}
	for _, has := range every {
		for _, want := range every {
			may := has == want || slices.Contains(also[has], want)
			if got := auth.May([]auth.Scope{has}, want); got != may {
				t.Errorf("%s may %s: %v", has, want, got)
			}
		}
		if !auth.May([]auth.Scope{has}, auth.Any) {
			t.Errorf("%s may not do what everybody may", has)
		}
	}
	if auth.May(nil, auth.Any) || auth.May([]auth.Scope{"nonsense", auth.Any}, auth.Any) || auth.May(nil, auth.Read) {
		t.Error("somebody without scopes may do something")
	}
	refused(t, "a reader", auth.Principal{Name: "eyes", Scopes: []auth.Scope{auth.Read}}.Require(auth.Device), auth.ErrForbidden, `"device" is needed`)
	ci := auth.Principal{Name: "ci", Scopes: []auth.Scope{auth.Upload}, Products: []string{"gw"}}
	if err := ci.RequireProduct("gw"); err != nil {
		t.Error(err)
	}
	refused(t, "another product", ci.RequireProduct("gw2"), auth.ErrForbidden, "for the product gw")
}

func TestSession(t *testing.T) {
	a, c := open(t)
	token, secret, err := a.Create(t.Context(), "me", []auth.Scope{auth.Admin}, nil, 30*24*time.Hour, "me")
	if err != nil {
		t.Fatal(err)
	}
	cookie, p, err := a.SignIn(t.Context(), secret)
	if err != nil || !p.Cookie || p.ExpiresAt.Sub(c.now) != auth.SessionLife {
		t.Fatalf("%+v %v", p, err)
	}
	if p, err = a.Session(t.Context(), cookie); err != nil || !p.Cookie || p.Token != token.ID {
		t.Errorf("%+v %v", p, err)
	}
	_, err = a.Session(t.Context(), cookie+"x")
	refused(t, "another cookie", err, auth.ErrExpired, "sign in again")
	_, err = a.Session(t.Context(), "")
	refused(t, "no cookie", err, auth.ErrMissing, "sign in")
	c.now = c.now.Add(auth.SessionLife)
	_, err = a.Session(t.Context(), cookie)
	refused(t, "too late", err, auth.ErrExpired, "sign in again")

	// A session ends with its token, whether that is revoked or expires.
	if cookie, _, err = a.SignIn(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Create(t.Context(), "other", []auth.Scope{auth.Admin}, nil, 0, "me"); err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	_, err = a.Session(t.Context(), cookie)
	refused(t, "revoked", err, auth.ErrInvalid, "revoked")
	if err := a.SignOut(t.Context(), cookie); err != nil {
		t.Error(err)
	}
	_, short, err := a.Create(t.Context(), "short", []auth.Scope{auth.Read}, nil, time.Minute, "me")
	if err != nil {
		t.Fatal(err)
	}
	if _, p, err = a.SignIn(t.Context(), short); err != nil || p.ExpiresAt.Sub(c.now) != time.Minute {
		t.Errorf("the session outlives its token: %+v %v", p, err)
	}
}

func TestBootstrap(t *testing.T) {
	a, c := open(t)
	file := filepath.Join(t.TempDir(), "admin.token")
	if made, err := a.Bootstrap(t.Context(), file); !made || err != nil {
		t.Fatal(made, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Bearer(t.Context(), strings.TrimSpace(string(b)))
	if err != nil || p.Require(auth.Admin) != nil {
		t.Errorf("%+v %v", p, err)
	}
	if made, err := a.Bootstrap(t.Context(), file); made || err != nil {
		t.Error("a second admin was made", err)
	}
	refused(t, "the last one", a.Revoke(t.Context(), p.Token), auth.ErrLastAdmin, "make another")
	refused(t, "nobody", a.Revoke(t.Context(), "nobody"), store.ErrNotFound, "nobody")
	c.now = c.now.Add(366 * 24 * time.Hour)
	if made, err := a.Bootstrap(t.Context(), file); !made || err != nil {
		t.Error("nobody can administer after a year", err)
	}
}
