package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/firmware/remote"
	"github.com/waxwing-ota/waxwing/server/api/client"
	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// published is a repository that is read where others publish it.
type published struct{ remote.Files }

// Get implements repository.Files.
func (p published) Get(ctx context.Context, path string) ([]byte, error) {
	return p.Fetch(ctx, path, 64<<20)
}

// Put implements repository.Files.
func (published) Put(_ context.Context, path string, _ []byte) error {
	return fmt.Errorf("%s: a repository behind a URL is only read here: %w", path, fs.ErrPermission)
}

// ringFlags name the repository whose keys are looked at or changed.
type ringFlags struct{ repo, ca, out string }

func (o *ringFlags) add(c *cobra.Command, drafts bool) {
	where := "`DIR|URL` of the static repository (default: the server's)"
	if drafts {
		where = "`DIR|URL` of the static repository (required)"
	}
	c.Flags().StringVar(&o.repo, "repo", "", where)
	c.Flags().StringVar(&o.ca, "ca", "", "`FILE` with the CA of an https URL (default: the system's)")
	if drafts {
		c.Flags().StringVar(&o.out, "out", ".", "`DIR` that drafts are written to")
	}
}

// options reads the keys that lie in a folder beside the repository. Keys of holders do not.
func (o *ringFlags) options() (repository.Options, error) {
	if o.repo == "" {
		return repository.Options{}, usage("--repo must be given")
	}
	if strings.Contains(o.repo, "://") {
		files, err := location{at: o.repo, ca: o.ca}.open()
		return repository.Options{Files: published{files}}, err
	}
	b, err := dir.Open(o.repo)
	if err != nil {
		return repository.Options{}, err
	}
	held, err := heldKeys(o.repo)
	return repository.Options{Files: blob.Files{Store: b}, Keys: repository.Keys{Others: held}}, err
}

// heldKeys are the role keys in DIR/keys. Keys of products and of policies sign no role that is published here.
func heldKeys(folder string) ([]keys.Signer, error) {
	entries, err := os.ReadDir(filepath.Join(folder, "keys"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var held []keys.Signer
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".pem") || strings.HasPrefix(name, "product-") || name == "policy.pem" {
			continue
		}
		k, err := keys.Load(filepath.Join(folder, "keys", name))
		if err != nil {
			return nil, err
		}
		held = append(held, k)
	}
	return held, nil
}

func (o *ringFlags) open(ctx context.Context) (*repository.Repository, error) {
	options, err := o.options()
	if err != nil {
		return nil, err
	}
	return repository.Open(ctx, options)
}

// drafted carries out a change, or writes the drafts of what others must sign.
func (a *app) drafted(err error, out string) error {
	var offline *repository.OfflineError
	if errors.As(err, &offline) {
		return a.hand(offline.Drafts, out)
	}
	if err == nil {
		a.say("done: the keys for it are all here")
	}
	return err
}

func (a *app) keysImport() *cobra.Command {
	var o ringFlags
	var with []string
	c := &cobra.Command{
		Use: "import DRAFT…", Short: "Publish what the holders signed", Args: cobra.MinimumNArgs(1),
		Long: `Publish what the holders signed, after it was verified as a device would: on the server, or with --repo in a static
repository. Drafts that were made together are imported together, and importing twice changes nothing. Snapshot and timestamp
are signed again where the root asks for it: by the server, or with the keys in DIR/keys and those of --key. A folder without
a repository begins one. A server reads new keys of its own (DATA/keys/snapshot-2.pem) when it starts.`,
		Example: "  waxwing keys import root.draft targets.draft\n  waxwing keys import root.draft targets.draft --repo DIR",
		RunE: func(c *cobra.Command, args []string) error {
			all, err := readDrafts(args)
			if err != nil {
				return err
			}
			drafts := bare(all)
			if o.repo == "" {
				if err := a.importThere(c.Context(), drafts); err != nil {
					return err
				}
				return a.showDrafts(all)
			}
			options, err := o.options()
			if err != nil {
				return err
			}
			for _, ref := range with {
				k, err := keys.Open(ref, a.keyOptions())
				if err != nil {
					return err
				}
				options.Keys.Others = append(options.Keys.Others, k)
			}
			if _, err := options.Files.Get(c.Context(), "metadata/timestamp.json"); errors.Is(err, fs.ErrNotExist) {
				if _, err = repository.CreateFrom(c.Context(), options, drafts...); err != nil {
					return err
				}
			} else {
				r, err := repository.Open(c.Context(), options)
				if err != nil {
					return err
				}
				if err := r.Import(c.Context(), drafts...); err != nil {
					return err
				}
			}
			a.say("published; devices follow when they refresh")
			return a.showDrafts(all)
		},
	}
	o.add(c, false)
	c.Flags().StringArrayVar(&with, "key", nil, "`KEY` of snapshot or timestamp that is not in DIR/keys; may be repeated")
	return c
}

// importThere sends drafts to the server.
func (a *app) importThere(ctx context.Context, drafts []*repository.Draft) error {
	var body client.ImportKeysJSONRequestBody
	for _, d := range drafts {
		b, err := d.Encode()
		if err != nil {
			return err
		}
		body.Drafts = append(body.Drafts, b)
	}
	api, err := a.api()
	if err != nil {
		return err
	}
	_, err = call[none](api.ImportKeys(ctx, body))
	return err
}

// statusThere asks the server who signs its repository.
func (a *app) statusThere(ctx context.Context) ([]repository.Standing, error) {
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	list, err := call[struct {
		Items []client.KeyRole `json:"items"`
	}](api.ListKeyRoles(ctx))
	if err != nil {
		return nil, err
	}
	all := []repository.Standing{}
	for _, r := range list.Items {
		s := repository.Standing{
			Role: r.Role, Version: value(r.Version), Expires: value(r.ExpiresAt), Due: value(r.DueAt), Online: r.Online,
			Rule: public.Rule{Threshold: r.Threshold},
		}
		for _, k := range r.Keys {
			s.Rule.Keys = append(s.Rule.Keys, public.Key{Algorithm: public.Algorithm(k.Algorithm), Bytes: k.Public})
		}
		all = append(all, s)
	}
	return all, nil
}

// standings are the roles of the repository in a place, or of the server.
func (a *app) standings(ctx context.Context, o ringFlags) ([]repository.Standing, error) {
	if o.repo == "" {
		return a.statusThere(ctx)
	}
	r, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	return r.Status(ctx)
}

func (a *app) keysStatus() *cobra.Command {
	var o ringFlags
	c := &cobra.Command{
		Use: "status", Short: "Show the roles, their holders, and what is due next", Args: cobra.NoArgs,
		Long:    "Show who signs what: threshold and holders of each role, when it expires, and when it is due to be signed again; what is due next comes first. Without --repo the server is asked.",
		Example: "  waxwing keys status\n  waxwing keys status --repo https://updates.example.com/repo\n  waxwing keys status --repo DIR -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := a.standings(c.Context(), o)
			if err != nil {
				return err
			}
			now := time.Now()
			return a.print(all, func(w io.Writer) {
				row(w, "ROLE", "VERSION", "SIGN", "HOLDERS", "EXPIRES", "DUE", "BY")
				for _, s := range all {
					var holders []string
					for _, k := range s.Rule.Keys {
						holders = append(holders, k.ID()[:16])
					}
					by := "holders"
					if s.Online {
						by = "server"
					}
					row(w, s.Role, s.Version, fmt.Sprintf("%d of %d", s.Rule.Threshold, len(s.Rule.Keys)), strings.Join(holders, " "),
						day(s.Expires), due(s, now), by)
				}
			})
		},
	}
	o.add(c, false)
	return c
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateOnly)
}

// due says when somebody must act.
func due(s repository.Standing, now time.Time) string {
	switch {
	case s.Due.IsZero():
		return "-"
	case !s.Expires.After(now):
		return "expired"
	case !s.Due.After(now):
		return "now"
	}
	return day(s.Due)
}

// match returns the id among ids that a reference means: a key, or the beginning of its id.
func (a *app) match(ids []string, ref string) (string, error) {
	if len(ref) >= 8 && strings.Trim(ref, "0123456789abcdef") == "" {
		var found []string
		for _, id := range ids {
			if strings.HasPrefix(id, ref) {
				found = append(found, id)
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
		return "", fmt.Errorf("%s: %d of the role's keys begin so: %w", ref, len(found), errNotFound)
	}
	k, err := keys.OpenPublic(ref, a.keyOptions())
	if err != nil {
		return "", err
	}
	if !slices.Contains(ids, k.ID()) {
		return "", fmt.Errorf("%s (%s) is no key of the role: %w", ref, k.ID(), errNotFound)
	}
	return k.ID(), nil
}
