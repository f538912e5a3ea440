package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/auth/oidc"
	"github.com/waxwing-ota/waxwing/server/store"
)

// Platform is whose tokens a trust is about: it decides what the trust must pin down.
type Platform string

// The platforms there are.
const (
	GitHub Platform = "github"
	GitLab Platform = "gitlab"
	Other  Platform = "other"
)

// Issuers of the public platforms.
const (
	GitHubIssuer = "https://token.actions.githubusercontent.com"
	GitLabIssuer = "https://gitlab.com"
)

// Lives of a token that a CI job gets.
const (
	ShortestJob = 10 * time.Minute
	DefaultJob  = 30 * time.Minute
	LongestJob  = 60 * time.Minute
)

// Trust says which jobs of a CI platform may get a token, and what it is good for: one product and some steps.
//
// Claims names for each claim the values that are taken; all claims must fit. A value is compared as it is. Only in claims
// that hold a git ref, and only after refs/heads/ or refs/tags/, a "*" stands for any text without "/". Thus no pattern
// reaches another repository, another workflow file or a pull request.
type Trust struct {
	ID        string              `json:"id"`
	Platform  Platform            `json:"platform"`
	Product   string              `json:"product"`
	Scopes    []Scope             `json:"scopes"`
	Issuer    string              `json:"issuer"`
	Audience  string              `json:"audience"`
	Claims    map[string][]string `json:"claims"`
	Life      time.Duration       `json:"life"` // of its tokens, nanoseconds
	CreatedAt time.Time           `json:"created_at"`
	CreatedBy string              `json:"created_by"`
}

// ErrTrust says that a trust would be too wide, or can never fit.
var ErrTrust = errors.New("this is no trust that a pipeline can be given")

const (
	maxTrusts = 1000
	maxClaims = 16
	maxValue  = 512 // bytes of a claim's value
)

// must are the claims that a trust of a platform must pin down. The ids never change and are never given again, unlike the
// names: a repository that was deleted and made anew under the same name has another id.
func (p Platform) must() []string {
	switch p {
	case GitHub:
		return []string{"repository", "repository_id", "workflow_ref", "ref", "event_name"}
	case GitLab:
		return []string{"project_path", "project_id", "ci_config_ref_uri", "ref_path", "pipeline_source"}
	case Other:
		return []string{"sub"}
	}
	return nil
}

// foreign are events by which a stranger makes a pipeline of the repository run, with all that it may do.
func foreign(event string) bool {
	return slices.Contains([]string{
		"pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment", "workflow_run", "issue_comment", "issues",
		"merge_request_event", "external_pull_request_event", "external",
	}, event)
}

// refClaims hold a git ref, at their end.
func refClaims() []string { return []string{"ref", "ref_path", "workflow_ref", "ci_config_ref_uri"} }

func (t *Trust) check() error {
	bad := func(format string, a ...any) error { return fmt.Errorf("%w: %s", ErrTrust, fmt.Sprintf(format, a...)) }
	if err := firmware.CheckName("product", t.Product); err != nil {
		return err
	}
	if err := oidc.CheckIssuer(t.Issuer); err != nil {
		return bad("%v", err)
	}
	if t.Issuer == GitHubIssuer && t.Platform != GitHub || t.Issuer == GitLabIssuer && t.Platform != GitLab {
		return bad("%s is not of the platform %q", t.Issuer, t.Platform)
	}
	if t.Audience == "" || len(t.Audience) > maxValue {
		return bad("name the audience that the jobs ask their token for, such as the URL of this server")
	}
	if len(t.Scopes) == 0 || slices.ContainsFunc(t.Scopes, func(s Scope) bool { return !slices.Contains(Pipeline(), s) }) {
		return bad("its scopes must be some of upload, sign, publish and start")
	}
	if t.Life < ShortestJob || t.Life > LongestJob {
		return bad("a token of %s; from %s to %s is possible", t.Life, ShortestJob, LongestJob)
	}
	must := t.Platform.must()
	if must == nil {
		return bad("the platform %q is not github, gitlab or other", t.Platform)
	}
	for _, name := range must {
		if len(t.Claims[name]) == 0 {
			return bad("the claim %q must be pinned down for %s", name, t.Platform)
		}
	}
	if len(t.Claims) > maxClaims {
		return bad("%d claims, over %d", len(t.Claims), maxClaims)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Claims)) {
		if len(t.Claims[name]) == 0 || len(t.Claims[name]) > maxClaims {
			return bad("the claim %q has %d values", name, len(t.Claims[name]))
		}
		for _, v := range t.Claims[name] {
			if err := t.checkClaim(name, v); err != nil {
				return bad("%v", err)
			}
		}
	}
	return nil
}

func (t *Trust) checkClaim(name, v string) error {
	if name == "" || v == "" || len(name) > 64 || len(v) > maxValue {
		return fmt.Errorf("the claim %q with the value %.80q", name, v)
	}
	before, _, pattern := strings.Cut(v, "*")
	ofRef := slices.Contains(refClaims(), name)
	named := strings.Contains(before, "refs/heads/") || strings.Contains(before, "refs/tags/")
	switch {
	case pattern && (!ofRef || !named || strings.Count(v, "*") > 2):
		return fmt.Errorf("%s=%s: a * may only stand in the name of a branch or tag, after refs/heads/ or refs/tags/, twice at most", name, v)
	case t.Platform == Other:
		return nil
	case (name == "ref" || name == "ref_path") && !strings.HasPrefix(before, "refs/heads/") && !strings.HasPrefix(before, "refs/tags/"):
		return fmt.Errorf("%s=%s: write refs/heads/BRANCH or refs/tags/TAG", name, v)
	case name == "workflow_ref" && !strings.HasPrefix(before, t.Claims["repository"][0]+"/"):
		return fmt.Errorf("%s=%s: it must be a workflow of %s", name, v, t.Claims["repository"][0])
	case (name == "event_name" || name == "pipeline_source") && foreign(v):
		return fmt.Errorf("%s=%s: strangers can begin such a run", name, v)
	case (name == "repository" || name == "project_path" || strings.HasSuffix(name, "_id")) && len(t.Claims[name]) != 1:
		return fmt.Errorf("%s: one value, not %d; make a trust for each repository", name, len(t.Claims[name]))
	}
	return nil
}

// misfit says why a token does not fit; empty: it does.
func (t *Trust) misfit(c oidc.Claims) string {
	for _, name := range slices.Sorted(maps.Keys(t.Claims)) {
		got, ok := c[name]
		if !ok {
			return fmt.Sprintf("the token has no claim %q", name)
		}
		if !slices.ContainsFunc(t.Claims[name], func(p string) bool { return like(p, got) }) {
			return fmt.Sprintf("the claim %q is %.80q, not %q", name, got, strings.Join(t.Claims[name], "\" or \""))
		}
	}
	return ""
}

// like compares with a pattern, from the first to the last byte; "*" is any text without "/".
func like(pattern, text string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	if !strings.HasPrefix(text, before) {
		return false
	}
	text = text[len(before):]
	for i := 0; ; i++ {
		if like(after, text[i:]) {
			return true
		}
		if i == len(text) || text[i] == '/' {
			return false
		}
	}
}

// AddTrust trusts a pipeline. A Life of zero is DefaultJob. The error matches ErrTrust.
func (a *Auth) AddTrust(ctx context.Context, t Trust, by string) (Trust, error) {
	if t.Life == 0 {
		t.Life = DefaultJob
	}
	if u, err := url.Parse(t.Issuer); err == nil && u.Path == "/" {
		t.Issuer = strings.TrimSuffix(t.Issuer, "/")
	}
	if err := t.check(); err != nil {
		return Trust{}, err
	}
	all, err := a.Trusts(ctx)
	if err != nil {
		return Trust{}, err
	}
	if len(all) >= maxTrusts {
		return Trust{}, fmt.Errorf("%w: there are %d; remove some", ErrTrust, len(all))
	}
	t.ID, t.CreatedAt, t.CreatedBy = "ci-"+random(5), a.now().UTC().Truncate(time.Second), by
	_, err = a.trusts.Create(ctx, t.ID, t)
	return t, err
}

// Trusts returns all trusts.
func (a *Auth) Trusts(ctx context.Context) ([]Trust, error) {
	entries, _, err := a.trusts.List(ctx, store.Page{})
	all := make([]Trust, 0, len(entries))
	for _, e := range entries {
		all = append(all, e.Value)
	}
	return all, err
}

// RemoveTrust ends a trust, and at once the tokens that came of it. The error matches store.ErrNotFound.
func (a *Auth) RemoveTrust(ctx context.Context, id string) error {
	if _, err := a.trusts.Get(ctx, id); err != nil {
		return err
	}
	if err := a.trusts.Delete(ctx, id); err != nil {
		return err
	}
	tokens, err := a.List(ctx)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if slices.Contains(t.Trusts, id) {
			err = errors.Join(err, a.tokens.Delete(ctx, t.ID))
		}
	}
	return err
}
