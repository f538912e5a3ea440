package auth_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/auth/oidc"
	"github.com/waxwing-ota/waxwing/server/auth/oidc/oidctest"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
)

const audience = "https://updates.example"

// platforms is a server that trusts one pipeline of GitHub and one of GitLab.
type platforms struct {
	*testing.T
	*auth.Auth
	issuer *oidctest.Issuer
	clock  *clock
}

func trusting(t *testing.T) *platforms {
	t.Helper()
	i := oidctest.Start(t)
	c := &clock{time.Now()}
	a := auth.New(auth.Options{Store: storetest.New(t), Now: c.Now, Identities: oidc.New(oidc.Options{Roots: i.Roots(), Now: c.Now})})
	return &platforms{t, a, i, c}
}

func (p *platforms) trust(t auth.Trust) auth.Trust {
	p.Helper()
	made, err := p.AddTrust(p.Context(), t, "me")
	if err != nil {
		p.Fatal(err)
	}
	return made
}

func (p *platforms) github() auth.Trust {
	return auth.Trust{
		Platform: auth.GitHub, Product: "gateway", Scopes: []auth.Scope{auth.Upload, auth.Sign}, Issuer: p.issuer.URL, Audience: audience,
		Claims: map[string][]string{
			"repository": {"acme/gateway"}, "repository_id": {"4711"}, "environment": {"production"}, "event_name": {"push", "workflow_dispatch"},
			"workflow_ref": {"acme/gateway/.github/workflows/release.yml@refs/tags/v*"}, "ref": {"refs/tags/v*"}, "ref_protected": {"true"},
		},
	}
}

func (p *platforms) gitlab() auth.Trust {
	return auth.Trust{
		Platform: auth.GitLab, Product: "sensor", Scopes: []auth.Scope{auth.Publish}, Issuer: p.issuer.URL, Audience: audience,
		Claims: map[string][]string{
			"project_path": {"acme/sensor"}, "project_id": {"815"}, "environment": {"production"}, "pipeline_source": {"push"},
			"ci_config_ref_uri": {"gitlab.com/acme/sensor//.gitlab-ci.yml@refs/heads/main"}, "ref_path": {"refs/heads/main"}, "ref_protected": {"true"},
		},
	}
}

func with(claims map[string]any, change map[string]any) map[string]any {
	out := map[string]any{"aud": audience}
	maps.Copy(out, claims)
	maps.Copy(out, change)
	return out
}

// security case 71: only the job that the trust describes gets a token.
func TestExchange(t *testing.T) {
	p := trusting(t)
	_, _, err := p.Exchange(t.Context(), auth.Exchange{Identity: p.issuer.Sign(with(oidctest.GitHub("acme/gateway", "refs/tags/v1"), nil))})
	refused(t, "nobody is trusted", err, auth.ErrUntrusted, "waxwing ci trust add")
	p.trust(p.github())
	p.trust(p.gitlab())

	hub, lab := oidctest.GitHub("acme/gateway", "refs/tags/v1.0.0"), oidctest.GitLab("acme/sensor", "refs/heads/main")
	fork := oidctest.GitHub("mallory/gateway", "refs/tags/v1.0.0")
	fork["repository_id"] = "666"
	for what, claims := range map[string]map[string]any{
		"a fork":                             with(fork, nil),
		"a fork that names the workflow":     with(fork, map[string]any{"workflow_ref": hub["workflow_ref"]}),
		"a fork that names the repository":   with(hub, map[string]any{"repository_id": "666"}),
		"a name that begins the same":        with(hub, map[string]any{"repository": "acme/gateway-evil"}),
		"a name that ends the same":          with(hub, map[string]any{"repository": "evil/acme/gateway"}),
		"another case":                       with(hub, map[string]any{"repository": "Acme/Gateway"}),
		"renamed and made anew":              with(hub, map[string]any{"repository_id": "4712"}),
		"another workflow file":              with(hub, map[string]any{"workflow_ref": "acme/gateway/.github/workflows/test.yml@refs/tags/v1.0.0"}),
		"the workflow file of another ref":   with(hub, map[string]any{"workflow_ref": "acme/gateway/.github/workflows/release.yml@refs/heads/mine"}),
		"a workflow of somebody else":        with(hub, map[string]any{"workflow_ref": "evil/x/.github/workflows/release.yml@refs/tags/v1.0.0"}),
		"a branch":                           with(hub, map[string]any{"ref": "refs/heads/v1.0.0"}),
		"a branch below the pattern":         with(hub, map[string]any{"ref": "refs/tags/v1/x"}),
		"a pull request":                     with(hub, map[string]any{"ref": "refs/pull/7/merge", "event_name": "pull_request"}),
		"pull_request_target":                with(hub, map[string]any{"event_name": "pull_request_target"}),
		"an unprotected ref":                 with(hub, map[string]any{"ref_protected": "false"}),
		"another environment":                with(hub, map[string]any{"environment": "staging"}),
		"no environment":                     with(hub, map[string]any{"environment": nil}),
		"an environment that is a list":      with(hub, map[string]any{"environment": []string{"production"}}),
		"another project of GitLab":          with(lab, map[string]any{"project_path": "mallory/sensor", "project_id": "999"}),
		"a project that was made anew":       with(lab, map[string]any{"project_id": "816"}),
		"another configuration":              with(lab, map[string]any{"ci_config_ref_uri": "gitlab.com/acme/sensor//other.yml@refs/heads/main"}),
		"a merge request":                    with(lab, map[string]any{"pipeline_source": "merge_request_event"}),
		"a branch of GitLab":                 with(lab, map[string]any{"ref_path": "refs/heads/dev"}),
		"an unprotected branch of GitLab":    with(lab, map[string]any{"ref_protected": "false"}),
		"another environment of GitLab":      with(lab, map[string]any{"environment": "review/7"}),
		"claims of GitHub for GitLab's job":  with(hub, map[string]any{"project_path": "acme/sensor", "project_id": "815", "ref": "refs/heads/x"}),
		"a subject that says all, no claims": {"aud": audience, "sub": "repo:acme/gateway:environment:production"},
	} {
		_, _, err := p.Exchange(t.Context(), auth.Exchange{Identity: p.issuer.Sign(claims)})
		refused(t, what, err, auth.ErrUntrusted, "the log of the server")
		p.clock.now = p.clock.now.Add(time.Second) // the rush is over
	}
	for what, aud := range map[string]any{
		"another audience": "https://elsewhere.example", "ours and another": []string{audience, "https://elsewhere.example"}, "none": nil, "a part": audience[:9],
	} {
		_, _, err := p.Exchange(t.Context(), auth.Exchange{Identity: p.issuer.Sign(with(hub, map[string]any{"aud": aud}))})
		refused(t, what, err, oidc.ErrToken, "--audience")
	}

	token, secret, err := p.Exchange(t.Context(), auth.Exchange{Identity: p.issuer.Sign(with(hub, nil))})
	if err != nil {
		t.Fatal(err)
	}
	who, err := p.Bearer(t.Context(), secret)
	if err != nil || who.Name != "ci acme/gateway v1.0.0" || !slices.Equal(who.Products, []string{"gateway"}) || !slices.Equal(who.Scopes, []auth.Scope{auth.Upload, auth.Sign}) {
		t.Errorf("%+v %v", who, err)
	}
	if life := token.ExpiresAt.Sub(token.CreatedAt); life != auth.DefaultJob || token.Job.Commit != hub["sha"] || token.Job.Run != "99" {
		t.Errorf("%s %+v", life, token.Job)
	}
	token, _, err = p.Exchange(t.Context(), auth.Exchange{Identity: p.issuer.Sign(with(lab, nil)), Product: "sensor"})
	if err != nil || token.Job.Run != p.issuer.URL+"/acme/sensor/-/jobs/97" || token.Job.Actor != "jane" {
		t.Errorf("%+v %v", token.Job, err)
	}
	_, _, err = p.Exchange(t.Context(), auth.Exchange{Identity: p.issuer.Sign(with(lab, nil)), Product: "gateway"})
	refused(t, "another product", err, auth.ErrUntrusted, "")
}

// A token has no more than was asked for, one product, and ends with its trust or its time.
func TestExchangeBounds(t *testing.T) {
	p := trusting(t)
	first := p.trust(p.github())
	more := p.github()
	more.Scopes, more.Life = []auth.Scope{auth.Publish, auth.Sign}, auth.ShortestJob
	second := p.trust(more)
	identity := p.issuer.Sign(with(oidctest.GitHub("acme/gateway", "refs/tags/v2"), nil))

	token, secret, err := p.Exchange(t.Context(), auth.Exchange{Identity: identity})
	if err != nil || !slices.Equal(token.Trusts, []string{first.ID, second.ID}) && !slices.Equal(token.Trusts, []string{second.ID, first.ID}) ||
		len(token.Scopes) != 3 || token.ExpiresAt.Sub(token.CreatedAt) != auth.ShortestJob {
		t.Fatalf("%+v %v", token, err)
	}
	token, _, err = p.Exchange(t.Context(), auth.Exchange{Identity: identity, Scopes: []auth.Scope{auth.Upload}})
	if err != nil || !slices.Equal(token.Scopes, []auth.Scope{auth.Upload}) || !slices.Equal(token.Trusts, []string{first.ID}) {
		t.Errorf("%+v %v", token, err)
	}
	_, _, err = p.Exchange(t.Context(), auth.Exchange{Identity: identity, Scopes: []auth.Scope{auth.Start}})
	refused(t, "a scope that nobody gave", err, auth.ErrForbidden, `"start"`)
	_, _, err = p.Exchange(t.Context(), auth.Exchange{Identity: identity, Scopes: []auth.Scope{auth.Admin}})
	refused(t, "admin", err, auth.ErrForbidden, `"admin"`)

	other := p.github()
	other.Product = "other"
	p.trust(other)
	_, _, err = p.Exchange(t.Context(), auth.Exchange{Identity: identity})
	refused(t, "two products", err, auth.ErrProducts, "--product")

	// A trust that ends takes its tokens along.
	if err := p.RemoveTrust(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	_, err = p.Bearer(t.Context(), secret)
	refused(t, "after its trust", err, auth.ErrInvalid, "")
	refused(t, "again", p.RemoveTrust(t.Context(), second.ID), store.ErrNotFound, "")

	// Expired ones do not pile up.
	p.clock.now = p.clock.now.Add(4 * time.Minute)
	fresh := p.issuer.Sign(with(oidctest.GitHub("acme/gateway", "refs/tags/v2"), map[string]any{"exp": p.clock.now.Add(2 * time.Hour).Unix()}))
	p.clock.now = p.clock.now.Add(time.Hour)
	if _, _, err = p.Exchange(t.Context(), auth.Exchange{Identity: fresh, Product: "gateway"}); err != nil {
		t.Fatal(err)
	}
	if all, err := p.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d tokens are kept: %v", len(all), err)
	}

	// Everybody may ask, so a flood is held off.
	rushed := false
	for range 200 {
		if _, _, err = p.Exchange(t.Context(), auth.Exchange{Identity: "x"}); errors.Is(err, auth.ErrRush) {
			rushed = true
		}
	}
	if !rushed {
		t.Error("200 exchanges in no time were all looked at")
	}
}

// A trust that would let strangers in cannot be made.
func TestTrustTooWide(t *testing.T) {
	p := trusting(t)
	hub := func(name string, values ...string) auth.Trust {
		v := p.github()
		v.Claims[name] = values
		return v
	}
	lab := func(name string, values ...string) auth.Trust {
		v := p.gitlab()
		v.Claims[name] = values
		return v
	}
	change := func(do func(*auth.Trust)) auth.Trust {
		v := p.github()
		do(&v)
		return v
	}
	for says, v := range map[string]auth.Trust{
		`"repository" must be pinned`:                  hub("repository"),
		`"repository_id" must be pinned`:               hub("repository_id"),
		`"workflow_ref" must be pinned`:                hub("workflow_ref"),
		`"ref" must be pinned`:                         hub("ref"),
		`"event_name" must be pinned`:                  hub("event_name"),
		"repository=acme/*: a * may only":              hub("repository", "acme/*"),
		"repository_id=4*: a * may only":               hub("repository_id", "4*"),
		"environment=*: a * may only":                  hub("environment", "*"),
		"ref=*: a * may only":                          hub("ref", "*"),
		"ref=refs/*: a * may only":                     hub("ref", "refs/*"),
		"ref=refs/pull/7/merge: write":                 hub("ref", "refs/pull/7/merge"),
		"ref=main: write":                              hub("ref", "main"),
		"twice at most":                                hub("ref", "refs/tags/*-*-*"),
		"must be a workflow of acme/gateway":           hub("workflow_ref", "evil/x/.github/workflows/release.yml@refs/tags/v1"),
		"workflow_ref=acme/gateway/*: a *":             hub("workflow_ref", "acme/gateway/*"),
		"event_name=pull_request_target: strangers":    hub("event_name", "pull_request_target"),
		"event_name=workflow_run: strangers":           hub("event_name", "workflow_run"),
		"repository: one value":                        hub("repository", "acme/gateway", "acme/other"),
		"repository_id: one value":                     hub("repository_id", "1", "2"),
		"has 17 values":                                hub("environment", strings.Split("a a a a a a a a a a a a a a a a a", " ")...),
		`"project_id" must be pinned`:                  lab("project_id"),
		"ref_path=refs/merge-requests/1/head: write":   lab("ref_path", "refs/merge-requests/1/head"),
		"pipeline_source=merge_request_event: strange": lab("pipeline_source", "merge_request_event"),
		"project_path=acme/*: a * may only":            lab("project_path", "acme/*"),
		"is not of the platform":                       change(func(v *auth.Trust) { v.Issuer, v.Platform = auth.GitHubIssuer, auth.Other }),
		`the platform "x"`:                             change(func(v *auth.Trust) { v.Platform = "x" }),
		"name the audience":                            change(func(v *auth.Trust) { v.Audience = "" }),
		"https only":                                   change(func(v *auth.Trust) { v.Issuer = "http://issuer.example" }),
		"its scopes must":                              change(func(v *auth.Trust) { v.Scopes = []auth.Scope{auth.Admin} }),
		"its scopes must be":                           change(func(v *auth.Trust) { v.Scopes = []auth.Scope{auth.Upload, auth.Read} }),
		"a token of 2h":                                change(func(v *auth.Trust) { v.Life = 2 * time.Hour }),
		"a token of 1m":                                change(func(v *auth.Trust) { v.Life = time.Minute }),
		`"sub" must be pinned`:                         change(func(v *auth.Trust) { v.Platform = auth.Other }),
	} {
		_, err := p.AddTrust(t.Context(), v, "me")
		refused(t, says, err, auth.ErrTrust, says)
	}
	bad := p.github()
	bad.Product = "no name"
	if _, err := p.AddTrust(t.Context(), bad, "me"); err == nil {
		t.Error("a product that cannot be was taken")
	}
	p.trust(auth.Trust{
		Platform: auth.Other, Product: "gateway", Scopes: auth.Pipeline(), Issuer: "https://ci.example/", Audience: audience, Claims: map[string][]string{"sub": {"build"}},
	})
	if all, err := p.Trusts(t.Context()); err != nil || len(all) != 1 || all[0].Issuer != "https://ci.example" {
		t.Errorf("%+v %v", all, err)
	}
}
