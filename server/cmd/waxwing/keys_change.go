package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// rolesHelp says what a ROLE is.
const rolesHelp = "ROLE is root, targets, snapshot, timestamp, policies, grants, or product/NAME. Keys that go are named by a key, or by the first\n8 or more digits of their id (\"waxwing keys status\"): a lost key has no file."

// exchange is keys that come and go in one role.
type exchange struct {
	old, next []string
	threshold int
}

func (x *exchange) add(c *cobra.Command) {
	c.Flags().StringSliceVar(&x.old, "old", nil, "`KEYS` that sign no more")
	c.Flags().IntVar(&x.threshold, "threshold", 0, "how many must sign (default: as many as before)")
}

func (a *app) keysRotate() *cobra.Command {
	var o ringFlags
	var x exchange
	c := &cobra.Command{
		Use: "rotate ROLE", Short: "Draft that other keys sign a role", Args: cobra.ExactArgs(1),
		Long: "Draft that other keys sign a role from now on. Of a role's root, the holders of the old and of the new one sign.\n\n" + rolesHelp,
		Example: "  waxwing keys rotate root --old carol.pub --new dora.pub --repo DIR --out drafts\n" +
			"  waxwing keys rotate timestamp --old 3fa94c1e --new next.pub --repo DIR --out drafts",
		RunE: func(c *cobra.Command, args []string) error {
			if len(x.next) == 0 {
				return usage("--new must be given; `waxwing keys revoke` only takes keys out")
			}
			return a.rotate(c.Context(), o, args[0], x)
		},
	}
	o.add(c, true)
	x.add(c)
	c.Flags().StringSliceVar(&x.next, "new", nil, "`KEYS` that sign from now on")
	return c
}

func (a *app) keysRevoke() *cobra.Command {
	var o ringFlags
	var x exchange
	c := &cobra.Command{
		Use: "revoke ROLE", Short: "Draft that keys sign a role no more", Args: cobra.ExactArgs(1),
		Long: "Draft that keys sign a role no more, and that fewer may have to.\n\n" + rolesHelp,
		Example: "  waxwing keys revoke targets --old 3fa94c1e --repo DIR --out drafts\n" +
			"  waxwing keys revoke policies --old stolen.pub --repo DIR --out drafts",
		RunE: func(c *cobra.Command, args []string) error {
			if len(x.old) == 0 {
				return usage("--old must be given")
			}
			return a.rotate(c.Context(), o, args[0], x)
		},
	}
	o.add(c, true)
	x.add(c)
	return c
}

// apply returns a rule with keys exchanged.
func (a *app) apply(r public.Rule, x exchange) (public.Rule, error) {
	var ids []string
	for _, k := range r.Keys {
		ids = append(ids, k.ID())
	}
	r.Keys = slices.Clone(r.Keys)
	for _, ref := range x.old {
		id, err := a.match(ids, ref)
		if err != nil {
			return r, err
		}
		r.Keys = slices.DeleteFunc(r.Keys, func(k public.Key) bool { return k.ID() == id })
	}
	for _, ref := range x.next {
		k, err := keys.OpenPublic(ref, a.keyOptions())
		if err != nil {
			return r, err
		}
		r.Keys = append(r.Keys, k)
	}
	if x.threshold > 0 {
		r.Threshold = x.threshold
	}
	return r, r.Check()
}

func (a *app) rotate(ctx context.Context, o ringFlags, role string, x exchange) error {
	r, err := o.open(ctx)
	if err != nil {
		return err
	}
	if name, ok := strings.CutPrefix(role, "product/"); ok {
		return a.rotateProduct(ctx, r, o, name, x)
	}
	if role == "policies" || role == "grants" {
		k, err := r.PolicyKeys(ctx)
		if err != nil {
			return err
		}
		if k == nil || role == "grants" && k.Grants == nil {
			return fmt.Errorf("nobody signs %s: %w", role, errNotFound)
		}
		rule := &k.Policy
		if role == "grants" {
			rule = k.Grants
		}
		if *rule, err = a.apply(*rule, x); err != nil {
			return err
		}
		return a.drafted(r.SetPolicyKeys(ctx, *k), o.out)
	}
	p, err := r.Plan()
	if err != nil {
		return err
	}
	rule := p.Rule(role)
	if rule == nil {
		return usage("%s is no role", role)
	}
	if *rule, err = a.apply(*rule, x); err != nil {
		return err
	}
	return a.drafted(r.ChangeRoot(ctx, p), o.out)
}

func (a *app) rotateProduct(ctx context.Context, r *repository.Repository, o ringFlags, name string, x exchange) error {
	all, err := r.Status(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(s repository.Standing) bool { return s.Role == "product "+name })
	if at < 0 {
		return fmt.Errorf("product %s: %w", name, errNotFound)
	}
	rule, err := a.apply(all[at].Rule, x)
	if err != nil {
		return err
	}
	return a.drafted(r.Delegate(ctx, name, rule), o.out)
}

func (a *app) keysAddProduct() *cobra.Command {
	var o ringFlags
	var rule ruleFlags
	c := &cobra.Command{
		Use: "add-product NAME", Short: "Draft that there is a product, and who signs its releases", Args: cobra.ExactArgs(1),
		Long: "Draft that there is a product, and who signs its releases. The holders of targets sign it.\n\n" + keyRefs,
		Example: "  waxwing keys add-product edge-gw --key edge-gw.pub --repo DIR --out drafts\n" +
			"  waxwing keys add-product edge-gw --key ci.pub,server.pub --key-threshold 2 --repo DIR --out drafts",
		RunE: func(c *cobra.Command, args []string) error {
			if len(rule.keys) == 0 {
				return usage("--key must be given")
			}
			who, err := a.rule(rule)
			if err != nil {
				return err
			}
			r, err := o.open(c.Context())
			if err != nil {
				return err
			}
			return a.drafted(r.Delegate(c.Context(), args[0], who), o.out)
		},
	}
	o.add(c, true)
	rule.add(c, "key", "sign its releases")
	return c
}

func (a *app) keysRenew() *cobra.Command {
	var o ringFlags
	c := &cobra.Command{
		Use: "renew", Short: "Draft root and targets as they are, before they expire", Args: cobra.NoArgs,
		Long:    "Draft root and targets as they are, with a year ahead of them. When that is due, \"waxwing keys status\" says.",
		Example: "  waxwing keys renew --repo DIR --out drafts",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := o.open(c.Context())
			if err != nil {
				return err
			}
			return a.drafted(r.Renew(c.Context()), o.out)
		},
	}
	o.add(c, true)
	return c
}

func (a *app) keysHandover() *cobra.Command {
	var o ringFlags
	var root, targets, snapshot, timestamp ruleFlags
	c := &cobra.Command{
		Use: "handover", Short: "Draft that a development trust belongs to holders from now on", Args: cobra.NoArgs,
		Long: `Draft that a development trust, whose keys were all made on one machine, belongs to holders from now on. The old root's key,
which lies in DIR/keys, signs the draft at once; the holders sign it too, and devices follow by themselves. After the import
DIR/keys/root.pem and targets.pem sign nothing any more: destroy them. Whoever had a copy of the online keys keeps it, so
give new ones with --snapshot and --timestamp where that matters.

` + keyRefs,
		Example: "  waxwing keys handover --repo DIR --root a.pub,b.pub,c.pub --root-threshold 2 --targets d.pub,e.pub,f.pub --targets-threshold 2 --out drafts",
		RunE: func(c *cobra.Command, _ []string) error {
			if len(root.keys) == 0 || len(targets.keys) == 0 {
				return usage("--root and --targets must be given")
			}
			r, err := o.open(c.Context())
			if err != nil {
				return err
			}
			p, err := r.Plan()
			if err != nil {
				return err
			}
			for _, role := range []struct {
				flags ruleFlags
				into  *public.Rule
			}{{root, &p.Root}, {targets, &p.Targets}, {snapshot, &p.Snapshot}, {timestamp, &p.Timestamp}} {
				if len(role.flags.keys) == 0 {
					continue
				}
				if *role.into, err = a.rule(role.flags); err != nil {
					return err
				}
			}
			return a.drafted(r.ChangeRoot(c.Context(), p), o.out)
		},
	}
	o.add(c, true)
	root.add(c, "root", "sign the root from now on: holders'")
	targets.add(c, "targets", "sign targets from now on: holders'")
	snapshot.add(c, "snapshot", "sign snapshots from now on (default: as before)")
	timestamp.add(c, "timestamp", "sign timestamps from now on (default: as before)")
	return c
}
