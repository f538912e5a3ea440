package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waxwing-ota/waxwing/server/auth/oidc"
	"github.com/waxwing-ota/waxwing/server/store"
)

// Errors of Exchange, beside those of package oidc.
var (
	ErrUntrusted = errors.New("no pipeline that is trusted here has this identity")
	ErrRush      = errors.New("too many jobs ask for a token at once; try again in a few seconds")
	ErrProducts  = errors.New("this job may work on several products; name one (--product)")
)

// Job is a CI job as its platform vouches for it.
type Job struct {
	Platform   Platform `json:"platform"`
	Issuer     string   `json:"issuer"`
	Repository string   `json:"repository,omitempty"` // "acme/gateway"; empty for other platforms
	Ref        string   `json:"ref,omitempty"`        // "refs/tags/v1.2.0"
	Commit     string   `json:"commit,omitempty"`
	Workflow   string   `json:"workflow,omitempty"` // file and ref: "acme/gateway/.github/workflows/release.yml@refs/tags/v1.2.0"
	Run        string   `json:"run,omitempty"`      // URL of the run, or its id
	Subject    string   `json:"subject"`
	Actor      string   `json:"actor,omitempty"` // who began it, as the platform says
}

// Exchange is what a job asks for.
type Exchange struct {
	Identity string  // the token of its platform
	Product  string  // empty: the only one that it may work on
	Scopes   []Scope // empty: all that it may have
}

// Exchange trades the identity of a CI job for a token that is good for one product, some steps and some minutes. The
// error matches ErrUntrusted, ErrForbidden, ErrRush, ErrProducts, oidc.ErrToken or oidc.ErrIssuer.
//
// What a stranger with a genuine token of the same platform learns is nothing: why it did not fit is for the log.
func (a *Auth) Exchange(ctx context.Context, q Exchange) (Token, string, error) {
	none := func(err error) (Token, string, error) { return Token{}, "", err }
	if !a.rush.AllowN(a.now(), 1) {
		return none(ErrRush)
	}
	trusts, _, err := a.trusts.List(ctx, store.Page{})
	if err != nil {
		return none(err)
	}
	var issuers []string
	for _, t := range trusts {
		issuers = append(issuers, t.Value.Issuer)
	}
	if a.ids == nil || len(issuers) == 0 {
		return none(fmt.Errorf("%w: no pipeline is; see `waxwing ci trust add`", ErrUntrusted))
	}
	who, err := a.ids.Verify(ctx, q.Identity, issuers)
	if err != nil {
		return none(err)
	}
	fit, err := a.fitting(trusts, who, q.Product)
	if err != nil {
		return none(err)
	}
	if err := a.sweepJobs(ctx); err != nil {
		return none(err)
	}
	return a.grant(ctx, fit, who, q.Scopes)
}

// fitting returns the trusts that a token fits: all of one product, at least one.
func (a *Auth) fitting(trusts []store.Entry[Trust], who *oidc.Token, product string) ([]store.Entry[Trust], error) {
	var fit []store.Entry[Trust]
	heard := false
	for _, e := range trusts {
		t := &e.Value
		switch {
		case t.Issuer != who.Issuer || product != "" && t.Product != product:
			continue
		case len(who.Audience) != 1 || who.Audience[0] != t.Audience: // a token for others too may come from them
			continue
		}
		heard = true
		if why := t.misfit(who.Claims); why != "" {
			a.log.Info("a CI job was not given a token", "trust", t.ID, "product", t.Product, "subject", who.Subject, "why", why)
			continue
		}
		fit = append(fit, e)
	}
	if len(fit) == 0 {
		said := fmt.Sprintf("the token is of %s, for the audience %q", who.Subject, strings.Join(who.Audience, " "))
		if !heard {
			return nil, fmt.Errorf("%w: %s, which no trust of this issuer (and product) names; give --audience as `waxwing ci trust list` has it", oidc.ErrToken, said)
		}
		return nil, fmt.Errorf("%w: %s; the log of the server says what does not fit", ErrUntrusted, said)
	}
	for _, e := range fit {
		if e.Value.Product != fit[0].Value.Product {
			return nil, ErrProducts
		}
	}
	return fit, nil
}

// grant makes the token, unless a trust that gives it ended meanwhile.
func (a *Auth) grant(ctx context.Context, fit []store.Entry[Trust], who *oidc.Token, asked []Scope) (Token, string, error) {
	first := fit[0].Value
	var may []Scope
	var from []string
	life := LongestJob
	b := store.NewBatch(a.store)
	for _, e := range fit {
		gives := slices.DeleteFunc(slices.Clone(e.Value.Scopes), func(s Scope) bool {
			return slices.Contains(may, s) || len(asked) > 0 && !slices.Contains(asked, s)
		})
		if len(gives) == 0 {
			continue
		}
		may, from, life = append(may, gives...), append(from, e.Value.ID), min(life, e.Value.Life)
		a.trusts.UnchangedIn(b, e.Key, e.Revision)
	}
	for _, s := range asked {
		if !slices.Contains(may, s) {
			return Token{}, "", fmt.Errorf("this job %w: the scope %q is not in the trust of its pipeline for %s", ErrForbidden, s, first.Product)
		}
	}
	job := jobOf(first.Platform, who)
	t, secret, err := a.mint(job.name(), may, life, "trust "+strings.Join(from, ", "))
	if err != nil {
		return Token{}, "", err
	}
	t.Products, t.Trusts, t.Job = []string{first.Product}, from, job
	if err := a.tokens.PutIn(b, t.ID, t); err != nil {
		return Token{}, "", err
	}
	if err := b.Commit(ctx); err != nil {
		return Token{}, "", err
	}
	return t, secret, nil
}

// sweepJobs removes tokens of jobs that have expired: nothing else would, and there are many.
func (a *Auth) sweepJobs(ctx context.Context) error {
	tokens, err := a.List(ctx)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if len(t.Trusts) > 0 && !a.now().Before(t.ExpiresAt) {
			if err := a.tokens.Delete(ctx, t.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func jobOf(p Platform, who *oidc.Token) *Job {
	c := who.Claims
	j := &Job{Platform: p, Issuer: who.Issuer, Subject: who.Subject, Commit: c["sha"]}
	switch p {
	case GitHub:
		j.Repository, j.Ref, j.Workflow, j.Actor = c["repository"], c["ref"], c["workflow_ref"], c["actor"]
		if j.Run = c["run_id"]; who.Issuer == GitHubIssuer && j.Run != "" {
			j.Run = "https://github.com/" + j.Repository + "/actions/runs/" + c["run_id"]
		}
	case GitLab:
		j.Repository, j.Ref, j.Workflow, j.Actor = c["project_path"], c["ref_path"], c["ci_config_ref_uri"], c["user_login"]
		if j.Run = c["job_id"]; j.Run != "" {
			j.Run = who.Issuer + "/" + j.Repository + "/-/jobs/" + c["job_id"]
		}
	}
	return j
}

// name is how the audit trail calls the job.
func (j *Job) name() string {
	if j.Repository == "" {
		return "ci " + j.Subject
	}
	return "ci " + j.Repository + " " + strings.TrimPrefix(strings.TrimPrefix(j.Ref, "refs/heads/"), "refs/tags/")
}
