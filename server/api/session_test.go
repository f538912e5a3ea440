package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/server/api"
)

// A browser signs in, is known by its cookie, and cannot be made to act from another site.
func TestSession(t *testing.T) {
	p := newPlane(t)
	r := p.request("POST", "/session", map[string]string{"token": p.Token})
	r.Header.Del("Authorization")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	in := p.send(r)
	if in.StatusCode != 200 {
		t.Fatalf("%d %s", in.StatusCode, in.body)
	}
	cookie := in.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Secure || cookie.Expires.IsZero() {
		t.Errorf("cookie %v", cookie)
	}
	browser := func(method, path, site string, body any) *answer {
		r := p.request(method, path, body)
		r.Header.Del("Authorization")
		r.AddCookie(cookie)
		r.Header.Set("Sec-Fetch-Site", site)
		return p.send(r)
	}
	var who api.Session
	browser("GET", "/session", "same-origin", nil).into(t, &who)
	if who.Name != "first admin" || who.Scopes[0] != api.ScopeAdmin || who.ExpiresAt == nil {
		t.Errorf("%+v", who)
	}
	group := `{"selector": ""}`
	p.problem(browser("PUT", "/groups/evil", "cross-site", group), 403, "forbidden", "another site")
	if a := browser("PUT", "/groups/good", "same-origin", group); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	// Signing somebody in from another site would be a trick too.
	r = p.request("POST", "/session", map[string]string{"token": p.Token})
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	p.problem(p.send(r), 403, "forbidden", "another site")

	if a := browser("DELETE", "/session", "same-origin", nil); a.StatusCode != 204 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	p.problem(browser("GET", "/session", "same-origin", nil), 401, "not-signed-in", "sign in again")
	p.refused(401, "not-signed-in", "not known here", "POST", "/session", map[string]string{"token": "wxo_x_y"})
}

func TestTokens(t *testing.T) {
	p := newPlane(t)
	var made api.CreatedToken
	p.want(201, "POST", "/tokens", map[string]any{"kind": "enroll", "uses": 3}).into(t, &made)
	if *made.Token.UsesLeft != 3 || !strings.Contains(*made.Command, "waxwing-agent enroll --server "+p.Device+" --token "+made.Secret) {
		t.Errorf("%+v", made)
	}
	p.want(204, "DELETE", "/tokens/"+made.Token.Id, nil)
	p.refused(404, "not-found", "no such token", "DELETE", "/tokens/"+made.Token.Id, nil)
	p.refused(400, "invalid", "at least one scope", "POST", "/tokens", map[string]any{"kind": "operator"})
	p.refused(400, "invalid", "ttl_seconds", "POST", "/tokens", map[string]any{"kind": "operator", "ttl_seconds": -1})
	p.refused(400, "invalid", "contract", "POST", "/tokens", `{"kind": `)

	made = api.CreatedToken{}
	p.want(201, "POST", "/tokens", map[string]any{"kind": "operator", "scopes": []string{"release"}, "note": "ci"}).into(t, &made)
	r := p.request("GET", "/devices", nil)
	r.Header.Set("Authorization", "Bearer "+made.Secret)
	if a := p.send(r); a.StatusCode != 200 {
		t.Errorf("release does not imply read: %d", a.StatusCode)
	}
	var list struct{ Items []api.Token }
	p.want(200, "GET", "/tokens", nil).into(t, &list)
	if len(list.Items) != 2 {
		t.Errorf("%+v", list)
	}
	for _, token := range list.Items {
		if token.Id == made.Token.Id {
			p.want(204, "DELETE", "/tokens/"+token.Id, nil)
		} else {
			p.refused(409, "conflict", "last token", "DELETE", "/tokens/"+token.Id, nil)
		}
	}
	p.problem(p.send(r.Clone(t.Context())), 401, "not-signed-in", "revoked")
}

// What is not an operation of the contract has its answers too.
func TestBeyondTheContract(t *testing.T) {
	p := newPlane(t)
	p.problem(p.do("GET", "/nothing", nil), 404, "not-found", "openapi.yaml")
	p.problem(p.do("POST", "/overview", nil), 404, "not-found", "openapi.yaml")
	for path, says := range map[string]string{
		"/healthz": "ok", "/openapi.yaml": "openapi: 3.0.3", "/metrics": "waxwing_devices 0", "/": "Waxwing",
	} {
		r, err := http.Get(p.Operator + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != 200 || !strings.Contains(string(body), says) {
			t.Errorf("%s: %d %v without %q", path, r.StatusCode, err, says)
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", path, r.Header)
		}
	}
	big := strings.Repeat(" ", 9<<20)
	p.refused(413, "too-large", "over 8388608 bytes", "POST", "/tokens", big)
}
