package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/server"
	"github.com/waxwing-ota/waxwing/server/api"
	"github.com/waxwing-ota/waxwing/server/auth/oidc/oidctest"
	"github.com/waxwing-ota/waxwing/server/servertest"
)

// exchange trades an identity token, as curl would.
func (p *plane) exchange(form map[string]string) *answer {
	p.Helper()
	v := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}
	for name, value := range form {
		v.Set(name, value)
	}
	r := p.request("POST", "/token/exchange", v.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Del("Authorization")
	return p.send(r)
}

// A job of CI goes from its platform's token to a release of its product, and no further.
func TestExchange(t *testing.T) {
	i := oidctest.Start(t)
	p := planeOf(t, servertest.Open(t, server.Options{Data: t.TempDir(), OIDCCA: i.CA()}))
	trust := map[string]any{
		"platform": "github", "product": "gateway", "scopes": []string{"upload", "publish"}, "issuer": i.URL, "audience": p.Operator, "ttl_seconds": 600,
		"claims": map[string][]string{
			"repository": {"acme/gateway"}, "repository_id": {"4711"}, "environment": {"production"}, "event_name": {"push"},
			"workflow_ref": {"acme/gateway/.github/workflows/release.yml@refs/tags/v*"}, "ref": {"refs/tags/v*"},
		},
	}
	p.refused(404, "not-found", "no product", "POST", "/trusts", trust)
	p.want(201, "POST", "/products", map[string]string{"name": "gateway"})
	var made api.Trust
	p.want(201, "POST", "/trusts", trust).into(t, &made)
	if made.TtlSeconds != 600 || made.CreatedBy != "first admin" || made.Claims["ref"][0] != "refs/tags/v*" {
		t.Errorf("%+v", made)
	}
	trust["claims"] = map[string][]string{"repository": {"acme/*"}}
	p.refused(400, "invalid", "must be pinned down", "POST", "/trusts", trust)

	claims := oidctest.GitHub("acme/gateway", "refs/tags/v1.0.0")
	claims["aud"] = p.Operator
	var token api.ExchangedToken
	begun := time.Now()
	answered := p.exchange(map[string]string{"subject_token": i.Sign(claims)})
	if answered.StatusCode != 200 {
		t.Fatalf("%d %s", answered.StatusCode, answered.body)
	}
	answered.into(t, &token)
	if token.TokenType != "Bearer" || token.ExpiresIn != 600 || token.Scope != "upload publish" || token.Product != "gateway" || token.Name != "ci acme/gateway v1.0.0" {
		t.Errorf("%+v", token)
	}
	t.Logf("an exchange with discovery took %s", time.Since(begun))

	as := func(method, path string, body any) *answer {
		r := p.request(method, path, body)
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		return p.send(r)
	}
	if a := as("POST", "/uploads", `{"size": 10}`); a.StatusCode != 201 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	release := `{"product": "gateway", "version": "1", "hardware": ["x"], "upload": "x"}`
	p.problem(as("POST", "/releases", release), 403, "forbidden", `"sign" is needed`) // the server's key would sign
	p.problem(as("POST", "/releases", strings.Replace(release, "gateway", "other", 1)), 403, "forbidden", "for the product gateway")
	p.problem(as("POST", "/rollouts", `{"product": "gateway", "version": "1"}`), 403, "forbidden", `"start" is needed`)
	p.problem(as("GET", "/devices", nil), 403, "forbidden", `"read" is needed`)
	p.problem(as("POST", "/tokens", `{"kind": "enroll"}`), 403, "forbidden", `"admin" is needed`)
	var who api.Session
	as("GET", "/session", nil).into(t, &who)
	if len(*who.Products) != 1 || who.ExpiresAt.Sub(begun) > 11*time.Minute {
		t.Errorf("%+v", who)
	}

	// security case 67: what is no good token is answered with 401, also a megabyte of it.
	p.problem(p.exchange(map[string]string{"subject_token": "x"}), 401, "not-signed-in", "no JSON Web Token")
	p.problem(p.exchange(map[string]string{"subject_token": strings.Repeat("x", 1<<20)}), 401, "not-signed-in", "over 16384 bytes")
	p.problem(p.exchange(map[string]string{"subject_token": i.SignAs(map[string]any{"alg": "none"}, claims)}), 401, "not-signed-in", "")
	p.problem(p.exchange(map[string]string{"subject_token": i.SignAs(map[string]any{"alg": "HS256", "kid": "rsa"}, claims)}), 401, "not-signed-in", "")
	claims["repository"] = "mallory/gateway"
	p.problem(p.exchange(map[string]string{"subject_token": i.Sign(claims)}), 403, "forbidden", "no pipeline")
	p.problem(p.exchange(map[string]string{"subject_token": "x", "grant_type": "password"}), 400, "invalid", "grant_type")
	p.problem(p.exchange(nil), 400, "invalid", "subject_token")

	// The trail has who came, and the trust takes its tokens along.
	var list struct{ Items []api.Trust }
	p.want(200, "GET", "/trusts", nil).into(t, &list)
	p.want(204, "DELETE", "/trusts/"+list.Items[0].Id, nil)
	p.problem(as("GET", "/session", nil), http.StatusUnauthorized, "not-signed-in", "revoked")
	var trail api.AuditList
	p.want(200, "GET", "/audit", nil).into(t, &trail)
	var acts []string
	for _, e := range trail.Items {
		acts = append(acts, e.Actor+": "+e.Action+" "+e.Subject)
	}
	want := "first admin: trust.remove " + made.Id + ", ci acme/gateway v1.0.0: token.exchange gateway, first admin: trust.create " + made.Id +
		", first admin: product.create gateway"
	if got := strings.Join(acts, ", "); got != want {
		t.Errorf("trail: %s, want %s", got, want)
	}
}
