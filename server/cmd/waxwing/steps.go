package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/api/client"
	"github.com/waxwing-ota/waxwing/signing/keys"
)

// stepFlags name a release in a static repository.
type stepFlags struct{ repo, release string }

func (o *stepFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&o.repo, "repo", "", "`DIR` of the static repository (required)")
	c.Flags().StringVar(&o.release, "release", "", "`PRODUCT@VERSION` (required)")
}

// open finds the release, verified.
func (o *stepFlags) open(ctx context.Context) (*found, error) {
	if o.repo == "" || o.release == "" {
		return nil, usage("--repo and --release must be given")
	}
	return find(ctx, location{at: o.repo}, o.release)
}

// signedFile is where sign leaves what publish sends.
func (o *stepFlags) signedFile(m *firmware.Manifest) string {
	return filepath.Join(o.repo, "signed", m.Product+"@"+m.Version+".json")
}

func (a *app) releaseSign() *cobra.Command {
	var o stepFlags
	var key, roleFile string
	c := &cobra.Command{
		Use: "sign", Short: "Sign a built release for a server, with a product key or the server's", Args: cobra.NoArgs,
		Long: `Sign the next role of the product with --key. What the server published before is asked of it, or without a network read
from --role, a file that "waxwing product role" wrote. Without --key the server's key of the product signs; then "waxwing
release push" comes first, since the server signs only what is there. The result stays in DIR/signed for "waxwing release publish".`,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := o.open(c.Context())
			if err != nil {
				return err
			}
			defer r.close()
			if key == "" {
				return a.signByServer(c.Context(), &o, r)
			}
			k, err := keys.Open(key, a.keyOptions())
			if err != nil {
				return err
			}
			role, counter, err := a.roleFor(c.Context(), roleFile, r.manifest.Product)
			if err != nil {
				return err
			}
			m := *r.manifest
			m.Counter = counter
			indexes := map[string][]byte{}
			for _, part := range m.Components {
				x, err := r.index(c.Context(), part.Name)
				if err != nil {
					return err
				}
				indexes[part.Name] = x.Encode()
			}
			signed, err := sign(role, &m, indexes, k, time.Now())
			if err != nil {
				return err
			}
			file := o.signedFile(&m)
			if err := writeSigned(file, signed); err != nil {
				return err
			}
			a.say("signed with key %s; next: waxwing release push, then waxwing release publish", k.Public().ID()[:16])
			return a.print(map[string]any{"file": file, "counter": counter, "key_id": k.Public().ID()}, func(w io.Writer) { row(w, file) })
		},
	}
	o.add(c)
	c.Flags().StringVar(&key, "key", "", "product `KEY`; see \"waxwing keys --help\" (default: the server signs)")
	c.Flags().StringVar(&roleFile, "role", "", "`FILE` of waxwing product role, instead of asking the server")
	return c
}

// signByServer has the server's key of the product sign.
func (a *app) signByServer(ctx context.Context, o *stepFlags, r *found) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	m := r.manifest
	signed, err := call[client.SignedRelease](api.SignRelease(ctx, unsigned(m.Product, m.Version, m.Hardware, m.Components...)))
	if err != nil {
		return err
	}
	got, err := firmware.ParseManifest(signed.Manifest)
	if err != nil || got.Product != m.Product || got.Version != m.Version || !slices.Equal(got.Components, m.Components) {
		return fmt.Errorf("the server signed something else than %s@%s: %w", m.Product, m.Version, errors.Join(err, errConflict))
	}
	file := o.signedFile(m)
	if err := writeSigned(file, &signed); err != nil {
		return err
	}
	a.say("signed with the server's key of %s; next: waxwing release publish", m.Product)
	return a.print(map[string]any{"file": file, "counter": got.Counter}, func(w io.Writer) { row(w, file) })
}

func writeSigned(file string, signed *client.SignedRelease) error {
	b, err := json.MarshalIndent(signed, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(file, append(b, '\n'), 0o644)
}

func (a *app) roleFor(ctx context.Context, file, product string) ([]byte, uint64, error) {
	if file == "" {
		api, err := a.api()
		if err != nil {
			return nil, 0, err
		}
		return productRole(ctx, api, product)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, 0, err
	}
	var role client.ProductRole
	if err := json.Unmarshal(b, &role); err != nil || role.NextCounter < 1 {
		return nil, 0, usage("--role %s: this is not what `waxwing product role` wrote", file)
	}
	if len(role.Metadata) == 0 {
		return nil, uint64(role.NextCounter), nil
	}
	return role.Metadata, uint64(role.NextCounter), nil
}

func (a *app) releasePush() *cobra.Command {
	var o stepFlags
	c := &cobra.Command{
		Use: "push", Short: "Send the chunks and indexes that the server lacks", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := o.open(c.Context())
			if err != nil {
				return err
			}
			defer r.close()
			api, err := a.api()
			if err != nil {
				return err
			}
			var sent int64
			for _, part := range r.manifest.Components {
				x, err := r.index(c.Context(), part.Name)
				if err != nil {
					return err
				}
				n, err := a.push(c.Context(), api, x, func(ctx context.Context, i int) ([]byte, error) {
					return r.frame(ctx, x.Chunks[i].ID)
				})
				if err != nil {
					return err
				}
				sent += n
			}
			return a.print(map[string]any{"sent_bytes": sent}, func(w io.Writer) { row(w, size(sent)) })
		},
	}
	o.add(c)
	return c
}

func (a *app) releasePublish() *cobra.Command {
	var o stepFlags
	c := &cobra.Command{
		Use: "publish", Short: "Make a pushed release visible: as signed here, or signed by the server", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := o.open(c.Context())
			if err != nil {
				return err
			}
			defer r.close()
			api, err := a.api()
			if err != nil {
				return err
			}
			m := r.manifest
			body := unsigned(m.Product, m.Version, m.Hardware, m.Components...)
			if b, err := os.ReadFile(o.signedFile(m)); err == nil {
				body = client.NewRelease{Product: m.Product, Version: m.Version, Signed: &client.SignedRelease{}}
				if err := json.Unmarshal(b, body.Signed); err != nil {
					return fmt.Errorf("%s: %w; run `waxwing release sign` again", o.signedFile(m), err)
				}
			}
			return a.printRelease(a.publish(c.Context(), api, body))
		},
	}
	o.add(c)
	return c
}
