package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

func (a *app) ci() *cobra.Command {
	trust := &cobra.Command{
		Use: "trust", Short: "Pipelines that get a short-lived token for who they are",
		Long: `A job of a trusted pipeline trades the identity token of its platform for a token of one product that lives for minutes, so
that no secret is stored in the platform. What the job is comes from its platform, signed: repository (by name and by the id
that is never given again), workflow file, branch or tag, event, environment.`,
	}
	trust.AddCommand(a.trustAdd(), &cobra.Command{
		Use: "list", Short: "Show trusted pipelines", Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			list, err := call[struct {
				Items []client.Trust `json:"items"`
			}](api.ListTrusts(ctx))
			if err != nil {
				return err
			}
			return a.print(list.Items, func(w io.Writer) { trusts(w, list.Items) })
		}),
	}, &cobra.Command{
		Use: "remove ID", Short: "Trust a pipeline no longer; the tokens that it has end at once", Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			if _, err := call[none](api.RemoveTrust(ctx, args[0])); err != nil {
				return err
			}
			a.say("%s is trusted no longer", args[0])
			return nil
		}),
	})
	c := &cobra.Command{Use: "ci", Short: "Signing and publishing in CI without stored secrets"}
	c.AddCommand(trust)
	return c
}

// trustFlags describe a pipeline.
type trustFlags struct {
	product, github, gitlab, issuer, audience string
	repositoryID, projectID, workflow, config string
	ref, environment, event, scope, claim     []string
	unprotected                               bool
	life                                      time.Duration
}

func (a *app) trustAdd() *cobra.Command {
	var o trustFlags
	c := &cobra.Command{
		Use: "add", Short: "Trust a pipeline with steps of a product", Args: cobra.NoArgs,
		Long: `Trust the jobs of one workflow of one repository, on some branches or tags, with some steps of one product. In the name of a
branch or tag "*" stands for any text without "/"; nothing else takes a pattern. Pull and merge requests are never trusted.

The ids are those that never change: GitHub tells one with "gh api repos/OWNER/REPO --jq .id"; GitLab shows the project id on
the project's page. --audience is the URL of this server as the jobs know it, which they ask their identity token for.`,
		Example: `  waxwing ci trust add --product edge-gw --github acme/gateway --repository-id 4711 --workflow release.yml \
      --ref 'refs/tags/v*' --environment production --scope upload,sign,publish
  waxwing ci trust add --product edge-gw --gitlab acme/gateway --project-id 815 --ref refs/heads/main --scope upload`,
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			body, err := o.trust()
			if err != nil {
				return err
			}
			if body.Audience == "" {
				server, _, err := a.where()
				if err != nil {
					return err
				}
				body.Audience = audienceOf(server)
			}
			t, err := call[client.Trust](api.CreateTrust(ctx, body))
			if err != nil {
				return err
			}
			a.say("its jobs ask for an identity token with the audience %s", t.Audience)
			return a.print(t, func(w io.Writer) { trusts(w, []client.Trust{t}) })
		}),
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.product, "product", "", "`NAME` of the product (required)")
	f.StringSliceVar(&o.scope, "scope", nil, "`STEPS` of upload, sign (by the server's product key), publish, start (a rollout) (required)")
	f.StringArrayVar(&o.ref, "ref", nil, "refs/heads/`BRANCH` or refs/tags/TAG; may be repeated (required for --github and --gitlab)")
	f.StringArrayVar(&o.environment, "environment", nil, "deployment environment `NAME`, which can ask for reviewers; may be repeated")
	f.StringVar(&o.github, "github", "", "`OWNER/REPO` of GitHub Actions")
	f.StringVar(&o.repositoryID, "repository-id", "", "GitHub: `ID` of the repository (required)")
	f.StringVar(&o.workflow, "workflow", "", "GitHub: `FILE` in .github/workflows (required)")
	f.StringVar(&o.gitlab, "gitlab", "", "`GROUP/PROJECT` of GitLab CI")
	f.StringVar(&o.projectID, "project-id", "", "GitLab: `ID` of the project (required)")
	f.StringVar(&o.config, "config", ".gitlab-ci.yml", "GitLab: `FILE` of the pipeline")
	f.StringSliceVar(&o.event, "event", nil, "`EVENTS` that begin the run (default: push and by hand; on GitHub releases too)")
	f.BoolVar(&o.unprotected, "unprotected", false, "also refs that are not protected")
	f.StringVar(&o.issuer, "issuer", "", "`URL` of the issuer, for a platform of one's own")
	f.StringArrayVar(&o.claim, "claim", nil, "`NAME=VALUE` that the identity token must say too; may be repeated")
	f.StringVar(&o.audience, "audience", "", "`TEXT` that the jobs ask their token for (default: the URL of this server as it is called here)")
	f.DurationVar(&o.life, "ttl", 0, "`TIME` that a token holds, from 10m to 60m (default 30m)")
	return c
}

// trust returns the claims that the flags stand for.
func (o *trustFlags) trust() (client.NewTrust, error) {
	t := client.NewTrust{Product: o.product, Audience: o.audience, Issuer: optional(o.issuer), Claims: client.Claims{}}
	if o.product == "" || len(o.scope) == 0 {
		return t, usage("--product and --scope must be given")
	}
	if o.life != 0 {
		seconds := int(o.life / time.Second)
		t.TtlSeconds = &seconds
	}
	for _, s := range o.scope {
		t.Scopes = append(t.Scopes, client.Scope(s))
	}
	switch {
	case o.github != "" && o.gitlab == "":
		if o.repositoryID == "" || o.workflow == "" || len(o.ref) == 0 {
			return t, usage("--github needs --repository-id, --workflow and --ref")
		}
		t.Platform = client.NewTrustPlatformGithub
		t.Claims["repository"], t.Claims["repository_id"], t.Claims["ref"] = []string{o.github}, []string{o.repositoryID}, o.ref
		for _, ref := range o.ref {
			file := o.github + "/.github/workflows/" + strings.TrimPrefix(o.workflow, ".github/workflows/") + "@" + ref
			t.Claims["workflow_ref"] = append(t.Claims["workflow_ref"], file)
		}
		t.Claims["event_name"] = or(o.event, "push", "release", "workflow_dispatch")
	case o.gitlab != "" && o.github == "":
		if o.projectID == "" || len(o.ref) == 0 {
			return t, usage("--gitlab needs --project-id and --ref")
		}
		t.Platform = client.NewTrustPlatformGitlab
		host := "gitlab.com"
		if o.issuer != "" {
			u, err := url.Parse(o.issuer)
			if err != nil {
				return t, usage("--issuer %s: %v", o.issuer, err)
			}
			host = u.Host + strings.TrimSuffix(u.Path, "/")
		}
		t.Claims["project_path"], t.Claims["project_id"], t.Claims["ref_path"] = []string{o.gitlab}, []string{o.projectID}, o.ref
		for _, ref := range o.ref {
			t.Claims["ci_config_ref_uri"] = append(t.Claims["ci_config_ref_uri"], host+"/"+o.gitlab+"//"+o.config+"@"+ref)
		}
		t.Claims["pipeline_source"] = or(o.event, "push", "web")
	case o.github == "" && o.gitlab == "" && o.issuer != "" && len(o.claim) > 0:
		t.Platform, o.unprotected = client.NewTrustPlatformOther, true
	default:
		return t, usage("give --github, --gitlab, or --issuer with --claim sub=…")
	}
	if !o.unprotected {
		t.Claims["ref_protected"] = []string{"true"}
	}
	if len(o.environment) > 0 {
		t.Claims["environment"] = o.environment
	}
	for _, pair := range o.claim {
		name, v, ok := strings.Cut(pair, "=")
		if !ok {
			return t, usage("--claim %s: write NAME=VALUE", pair)
		}
		if _, ours := t.Claims[name]; ours && t.Platform != client.NewTrustPlatformOther {
			return t, usage("--claim %s: another flag says that already", pair)
		}
		t.Claims[name] = append(t.Claims[name], v)
	}
	return t, nil
}

func or(given []string, otherwise ...string) []string {
	if len(given) > 0 {
		return given
	}
	return otherwise
}

func trusts(w io.Writer, all []client.Trust) {
	row(w, "ID", "PRODUCT", "STEPS", "WHO", "TOKENS OF", "AUDIENCE")
	for _, t := range all {
		var who []string
		for _, name := range slices.Sorted(maps.Keys(t.Claims)) {
			who = append(who, name+"="+strings.Join(t.Claims[name], "|"))
		}
		row(w, t.Id, t.Product, join(t.Scopes), fmt.Sprintf("%s %s", t.Platform, strings.Join(who, " ")), time.Duration(t.TtlSeconds)*time.Second, t.Audience)
	}
}
