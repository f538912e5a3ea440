package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// ruleFlags name the keys of a role, and how many of them must sign.
type ruleFlags struct {
	keys      []string
	threshold int
}

func (f *ruleFlags) add(c *cobra.Command, role, what string) {
	c.Flags().StringSliceVar(&f.keys, role, nil, "`KEYS` that "+what)
	c.Flags().IntVar(&f.threshold, role+"-threshold", 1, "how many of them must sign")
}

func (a *app) rule(f ruleFlags) (public.Rule, error) {
	r := public.Rule{Threshold: f.threshold}
	for _, ref := range f.keys {
		k, err := keys.OpenPublic(ref, a.keyOptions())
		if err != nil {
			return r, err
		}
		r.Keys = append(r.Keys, k)
	}
	return r, nil
}

func (a *app) keysCeremony() *cobra.Command {
	c := &cobra.Command{Use: "ceremony", Short: "Begin a trust whose keys belong to several holders"}
	var root, targets, snapshot, timestamp, policies, grants ruleFlags
	var out string
	begin := &cobra.Command{
		Use: "begin", Short: "Draft the first root and targets, from public keys", Args: cobra.NoArgs,
		Long: `Draft the first root and the first targets from public keys, for their holders to sign. No private key and no network is
needed. Devices are then made with the signed root (DIR/metadata/1.root.json after "import").

` + keyRefs,
		Example: "  waxwing keys ceremony begin --root a.pub,b.pub,c.pub --root-threshold 2 --targets d.pub,e.pub,f.pub --targets-threshold 2 \\\n      --snapshot online.pub --timestamp online.pub --policy policy.pub --out drafts",
		RunE: func(_ *cobra.Command, _ []string) error {
			var p repository.Plan
			k := policy.Keys{Schema: 1}
			var err error
			for _, role := range []struct {
				name  string
				flags ruleFlags
				into  *public.Rule
			}{
				{"root", root, &p.Root},
				{"targets", targets, &p.Targets},
				{"snapshot", snapshot, &p.Snapshot},
				{"timestamp", timestamp, &p.Timestamp},
				{"policy", policies, &k.Policy},
			} {
				if len(role.flags.keys) == 0 {
					return usage("--%s must be given", role.name)
				}
				if *role.into, err = a.rule(role.flags); err != nil {
					return err
				}
			}
			if len(grants.keys) > 0 {
				r, err := a.rule(grants)
				if err != nil {
					return err
				}
				k.Grants = &r
			}
			drafts, err := repository.Begin(p, k, time.Now())
			if err != nil {
				return err
			}
			return a.hand(drafts, out)
		},
	}
	root.add(begin, "root", "sign the root: holders', offline")
	targets.add(begin, "targets", "sign targets: holders', offline")
	snapshot.add(begin, "snapshot", "sign snapshots: the server's")
	timestamp.add(begin, "timestamp", "sign timestamps: the server's")
	policies.add(begin, "policy", "sign policies: the server's")
	grants.add(begin, "grants", "sign downgrade grants, holders'; none: there are no downgrades")
	begin.Flags().StringVar(&out, "out", ".", "`DIR` that the drafts are written to")
	c.AddCommand(begin)
	return c
}

// hand writes drafts for their holders and shows them.
func (a *app) hand(drafts []*repository.Draft, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var all []drafted
	for _, d := range drafts {
		f := drafted{File: filepath.Join(dir, d.Role+".draft"), draft: d}
		if _, err := os.Lstat(f.File); err == nil {
			return fmt.Errorf("%s: %w; move it away, or give another --out", f.File, os.ErrExist)
		}
		if err := f.write(); err != nil {
			return err
		}
		all = append(all, f)
	}
	a.say("now its holders sign: waxwing keys sign DRAFT --key KEY; then: waxwing keys import %s", strings.Join(names(all), " "))
	return a.showDrafts(all)
}

// drafted is a draft in a file.
type drafted struct {
	File   string            `json:"file"`
	Digest firmware.Digest   `json:"digest"` // of what is signed: the same for every holder
	State  *repository.State `json:"state"`
	draft  *repository.Draft
}

func names(all []drafted) (out []string) {
	for _, f := range all {
		out = append(out, f.File)
	}
	return out
}

func (f *drafted) write() error {
	b, err := f.draft.Encode()
	if err != nil {
		return err
	}
	return atomicfile.Write(f.File, b, 0o644)
}

const maxDraftFile = 16 << 20 // bytes

func readDrafts(files []string) ([]drafted, error) {
	var all []drafted
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if info.Size() > maxDraftFile {
			return nil, fmt.Errorf("%s: %d bytes are no draft", name, info.Size())
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		d, err := repository.ParseDraft(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, drafted{File: name, draft: d})
	}
	return all, nil
}

// bare returns drafts without where they came from.
func bare(all []drafted) []*repository.Draft {
	out := make([]*repository.Draft, len(all))
	for i := range all {
		out[i] = all[i].draft
	}
	return out
}

func (a *app) showDrafts(all []drafted) error {
	for i := range all {
		var err error
		if all[i].State, err = all[i].draft.State(); err != nil {
			return err
		}
		if all[i].Digest, err = all[i].draft.Digest(); err != nil {
			return err
		}
		a.say("%s %d, %s", all[i].State.Role, all[i].State.Version, all[i].Digest)
		for _, change := range all[i].State.Changes {
			a.say("  %s", change)
		}
	}
	return a.print(all, func(w io.Writer) {
		row(w, "DRAFT", "SIGNED FOR", "SIGNED", "NEEDED", "MAY STILL SIGN")
		for _, f := range all {
			for _, n := range f.State.Needs {
				var missing []string
				for _, id := range n.Missing {
					missing = append(missing, id[:16])
				}
				row(w, f.File, n.Of, len(n.Signed), n.Threshold, dash(strings.Join(missing, " ")))
			}
		}
	})
}

func (a *app) keysSign() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "sign DRAFT…", Short: "Add a holder's signature to drafts", Args: cobra.MinimumNArgs(1),
		Long: `Add a holder's signature to drafts, in their files, and show what they change and who may still sign. Look at them with
"check" before, and compare the digest with the other holders.

` + keyRefs,
		Example: "  waxwing keys sign root.draft targets.draft --key alice.pem\n  waxwing keys sign root.draft --key \"exec:./token root\"",
		RunE: func(_ *cobra.Command, args []string) error {
			if key == "" {
				return usage("--key must be given")
			}
			all, err := readDrafts(args)
			if err != nil {
				return err
			}
			k, err := keys.Open(key, a.keyOptions())
			if err != nil {
				return err
			}
			var refused error
			signed := 0
			for i := range all {
				if err := all[i].draft.Sign(k); err != nil {
					refused = fmt.Errorf("%s: %w", all[i].File, err)
					continue
				}
				if err := all[i].write(); err != nil {
					return err
				}
				signed++
			}
			if signed == 0 {
				return refused
			}
			return a.showDrafts(all)
		},
	}
	c.Flags().StringVar(&key, "key", "", "the holder's `KEY`")
	return c
}

func (a *app) keysCombine() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "combine DRAFT…", Short: "Join the signatures of copies of one draft", Args: cobra.MinimumNArgs(1),
		Example: "  waxwing keys combine from-alice/root.draft from-bob/root.draft --out root.draft",
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return usage("--out must be given")
			}
			all, err := readDrafts(args)
			if err != nil {
				return err
			}
			d, err := repository.Combine(bare(all)...)
			if err != nil {
				return err
			}
			f := drafted{File: out, draft: d}
			if err := f.write(); err != nil {
				return err
			}
			return a.showDrafts([]drafted{f})
		},
	}
	c.Flags().StringVar(&out, "out", "", "`FILE` that the joined draft is written to")
	return c
}

func (a *app) keysCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check DRAFT…", Short: "Show what drafts change and who must still sign; fails while signatures are missing",
		Args: cobra.MinimumNArgs(1), Example: "  waxwing keys check root.draft targets.draft",
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := readDrafts(args)
			if err != nil {
				return err
			}
			if err := a.showDrafts(all); err != nil {
				return err
			}
			for _, f := range all {
				if !f.State.Complete() {
					return fmt.Errorf("%s is not signed by enough yet", f.File)
				}
			}
			return nil
		},
	}
}
