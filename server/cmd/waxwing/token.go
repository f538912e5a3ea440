package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

func (a *app) token() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Tokens of devices and operators"}
	c.AddCommand(a.tokenCreate(), &cobra.Command{
		Use: "list", Short: "Show tokens, without their secrets", Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			list, err := call[struct {
				Items []client.Token `json:"items"`
			}](api.ListTokens(ctx))
			if err != nil {
				return err
			}
			return a.print(list.Items, func(w io.Writer) {
				row(w, "ID", "KIND", "NOTE", "SCOPES", "USES LEFT", "EXPIRES", "CREATED BY")
				for _, t := range list.Items {
					var uses any = "-"
					if t.UsesLeft != nil {
						uses = *t.UsesLeft
					}
					row(w, t.Id, t.Kind, dash(value(t.Note)), join(value(t.Scopes)), uses, when(t.ExpiresAt), t.CreatedBy)
				}
			})
		}),
	}, &cobra.Command{
		Use: "revoke ID", Short: "Make a token worthless", Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			if _, err := call[none](api.RevokeToken(ctx, args[0])); err != nil {
				return err
			}
			a.say("token %s is worthless now", args[0])
			return nil
		}),
	})
	return c
}

func (a *app) tokenCreate() *cobra.Command {
	var kind, note string
	var life time.Duration
	var uses int
	var label, scope, products []string
	var approve bool
	c := &cobra.Command{
		Use: "create", Short: "Make a token: for devices to enrol, or for an operator", Args: cobra.NoArgs,
		Long: `Make a token and print it; it is shown this once. Without --kind it lets devices enrol, and the command to run on the
device is printed on standard error.`,
		Example: "  waxwing token create --uses 1 --label site=oslo\n  waxwing token create --kind operator --scope release --note ci --ttl 720h",
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			body := client.NewToken{Kind: client.NewTokenKind(kind), Note: optional(note), Uses: optional(uses)}
			if body.Kind != client.NewTokenKindEnroll && body.Kind != client.NewTokenKindOperator {
				return usage("--kind %s: write enroll or operator", kind)
			}
			if life != 0 {
				if life < time.Second {
					return usage("--ttl %s is no time to use it", life)
				}
				seconds := int(life / time.Second)
				body.TtlSeconds = &seconds
			}
			if len(label) > 0 {
				all := map[string]string{}
				for _, l := range label {
					k, v, ok := strings.Cut(l, "=")
					if !ok {
						return usage("--label %s: write KEY=VALUE", l)
					}
					all[k] = v
				}
				body.Labels = &all
			}
			body.Approve = optional(approve)
			if len(scope) > 0 {
				all := make([]client.Scope, len(scope))
				for i, s := range scope {
					all[i] = client.Scope(s)
				}
				body.Scopes = &all
			}
			if len(products) > 0 {
				body.Products = &products
			}
			t, err := call[client.CreatedToken](api.CreateToken(ctx, body))
			if err != nil {
				return err
			}
			if t.Command != nil {
				a.say("valid until %s; next, run:\n  %s", when(t.Token.ExpiresAt), *t.Command)
			}
			return a.print(t, func(w io.Writer) { row(w, t.Secret) })
		}),
	}
	f := c.Flags()
	f.StringVar(&kind, "kind", "enroll", "`KIND`: enroll or operator")
	f.StringVar(&note, "note", "", "`TEXT` that says what it is for")
	f.DurationVar(&life, "ttl", 0, "`TIME` it holds, such as 24h (default: a day, for operators 90 days)")
	f.IntVar(&uses, "uses", 0, "enroll: `N` devices may use it (default: any number until it expires)")
	f.StringArrayVar(&label, "label", nil, "enroll: `KEY=VALUE` given to the devices; may be repeated")
	f.BoolVar(&approve, "approve", false, "enroll: devices wait for `waxwing device accept`")
	f.StringSliceVar(&scope, "scope", nil, "operator: `SCOPES` of upload, sign, publish, start, read, release, rollout, device, admin")
	f.StringSliceVar(&products, "product", nil, "operator: `NAMES` of the only products that it is for")
	return c
}

func (a *app) audit() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "audit", Short: "Show who did what, newest first", Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			if limit < 1 {
				return usage("--limit must be at least 1")
			}
			entries := []client.AuditEntry{}
			var token *string
			for len(entries) < limit {
				size := min(limit-len(entries), 200)
				list, err := call[client.AuditList](api.ListAudit(ctx, &client.ListAuditParams{PageSize: &size, PageToken: token}))
				if err != nil {
					return err
				}
				entries = append(entries, list.Items...)
				if token = list.NextPageToken; token == nil {
					break
				}
			}
			return a.print(entries, func(w io.Writer) {
				row(w, "TIME", "WHO", "WHAT", "TO", "DETAIL")
				for _, e := range entries {
					row(w, when(e.At), e.Actor, e.Action, dash(e.Subject), value(e.Detail))
				}
			})
		}),
	}
	c.Flags().IntVar(&limit, "limit", 100, "show at most `N` entries")
	return c
}
