package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// cost is what one device fetches for an update, in bytes.
type cost struct {
	Index int64 `json:"index_bytes"`
	Patch int64 `json:"patch_bytes"` // always 0 until there are patches
	Chunk int64 `json:"chunk_bytes"`
	Total int64 `json:"total_bytes"`
	Full  int64 `json:"full_bytes"` // what a device without the base fetches
}

func (a *app) releaseCost() *cobra.Command {
	var o stepFlags
	var from string
	c := &cobra.Command{
		Use: "cost", Short: "Say what one device fetches to come from one version to another", Args: cobra.NoArgs,
		Long: `Count the bytes that one device fetches from the server for an update: indexes, and the compressed chunks that its old
version does not have. Metadata of a few kilobytes and what neighbours give are not in it.`,
		Example: "  waxwing release cost --repo r --release edge-gw@1.1.0 --from 1.0.0 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := o.open(c.Context())
			if err != nil {
				return err
			}
			defer r.close()
			if from == "" {
				return usage("--from must be given")
			}
			total, err := r.cost(c.Context(), strings.TrimPrefix(from, r.manifest.Product+"@"))
			if err != nil {
				return err
			}
			return a.print(total, func(w io.Writer) {
				row(w, "INDEX", "PATCHES", "CHUNKS", "TOTAL", "FULL")
				row(w, size(total.Index), size(total.Patch), size(total.Chunk), size(total.Total), size(total.Full))
			})
		},
	}
	o.add(c)
	c.Flags().StringVar(&from, "from", "", "`VERSION` that the device runs (required)")
	return c
}

func (f *found) cost(ctx context.Context, from string) (cost, error) {
	var sum cost
	base, err := f.look(ctx, f.manifest.Product, from)
	if err != nil {
		return sum, fmt.Errorf("--from %s: %w", from, err)
	}
	have := map[firmware.ChunkID]bool{}
	for _, c := range base.Components {
		x, err := f.trust.Index(ctx, base, c.Name)
		if err != nil {
			return sum, err
		}
		for _, chunk := range x.Chunks {
			have[chunk.ID] = true
		}
	}
	seen := map[firmware.ChunkID]bool{}
	for _, c := range f.manifest.Components {
		x, err := f.index(ctx, c.Name)
		if err != nil {
			return sum, err
		}
		sum.Index += c.Index.Size
		for _, chunk := range x.Chunks {
			if seen[chunk.ID] {
				continue
			}
			seen[chunk.ID] = true
			frame, err := f.frame(ctx, chunk.ID)
			if err != nil {
				return sum, err
			}
			sum.Full += int64(len(frame))
			if !have[chunk.ID] {
				sum.Chunk += int64(len(frame))
			}
		}
	}
	sum.Total = sum.Index + sum.Patch + sum.Chunk
	sum.Full += sum.Index
	return sum, nil
}

// extractFlags say what to put where.
type extractFlags struct {
	location
	release, component, out string
	seed, seedRelease       string
}

func (a *app) releaseExtract() *cobra.Command {
	var o extractFlags
	c := &cobra.Command{
		Use: "extract", Short: "Put a payload together as a device would, with every check", Args: cobra.NoArgs,
		Long: `Verify a release through the signed metadata of a repository and write a payload of it to --out. Chunks that --seed holds
are taken from there; with the file of an earlier release, name it in --seed-release. What --out holds already is kept,
so a killed extraction goes on.

Without --root the repository's own first root is believed: give the root.json of your fleet when that matters.`,
		Example: "  waxwing release extract --repo r --release edge-gw@1.1.0 --seed old.ext4 --seed-release edge-gw@1.0.0 --out new.ext4",
		RunE:    func(c *cobra.Command, _ []string) error { return a.extract(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.at, "repo", "", "`DIR` or URL of the repository (required)")
	f.StringVar(&o.release, "release", "", "`PRODUCT@VERSION` (required)")
	f.StringVar(&o.component, "component", "", "`NAME` of the component (default: the only one)")
	f.StringVar(&o.out, "out", "", "`FILE` to write (required)")
	f.StringVar(&o.seed, "seed", "", "`FILE` with an earlier payload")
	f.StringVar(&o.seedRelease, "seed-release", "", "`PRODUCT@VERSION` that the seed holds")
	f.StringVar(&o.root, "root", "", "`FILE` with the root.json to trust")
	f.StringVar(&o.ca, "ca", "", "PEM `FILE` with the CA of an https URL")
	return c
}

func (a *app) extract(ctx context.Context, o extractFlags) error {
	if o.at == "" || o.release == "" || o.out == "" {
		return usage("--repo, --release and --out must be given")
	}
	if (o.seed == "") != (o.seedRelease == "") {
		return usage("--seed and --seed-release belong together")
	}
	r, err := find(ctx, o.location, o.release)
	if err != nil {
		return err
	}
	defer r.close()
	if o.component == "" {
		if len(r.manifest.Components) != 1 {
			return usage("--component: the release has %d of them", len(r.manifest.Components))
		}
		o.component = r.manifest.Components[0].Name
	}
	part, ok := r.manifest.Component(o.component)
	if !ok {
		return fmt.Errorf("release %s has no component %s: %w", o.release, o.component, errNotFound)
	}
	x, err := r.index(ctx, o.component)
	if err != nil {
		return err
	}
	var seeds []firmware.Source
	if o.seed != "" {
		seed, err := r.seed(ctx, o)
		if err != nil {
			return err
		}
		defer seed.Close()
		seeds = append(seeds, seed)
	}
	out, err := os.OpenFile(o.out, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	stats, err := a.assemble(ctx, r, out, x, part, seeds)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return a.print(map[string]any{
		"out": o.out, "sha256": part.SHA256, "size": stats.Total, "reused_bytes": stats.Reused, "fetched_bytes": stats.Fetched,
	}, func(w io.Writer) {
		row(w, "SIZE", "REUSED", "FETCHED", "SHA256")
		row(w, size(stats.Total), size(stats.Reused), size(stats.Fetched), part.SHA256)
	})
}

func (a *app) assemble(
	ctx context.Context, r *found, out *os.File, x *firmware.Index, part firmware.Component, seeds []firmware.Source,
) (assemble.Stats, error) {
	info, err := out.Stat()
	if err != nil {
		return assemble.Stats{}, err
	}
	if info.Mode().IsRegular() {
		if err := out.Truncate(part.Size); err != nil {
			return assemble.Stats{}, err
		}
	}
	m := a.meter("extracting", part.Size)
	assembly := assemble.New(assemble.Options{
		Index: x, Digest: part.SHA256, Target: out, Seeds: seeds, Progress: func(s assemble.Stats) { m.at(s.Done) },
	})
	stats, err := assembly.Run(ctx, r.fetchAll)
	if err == nil {
		m.end("%s is whole and genuine", out.Name())
	}
	return stats, err
}

// fetchAll is an assemble.Fetch from the repository.
func (f *found) fetchAll(ctx context.Context, missing []firmware.Chunk, deliver assemble.Deliver) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pushers)
	for _, c := range missing {
		g.Go(func() error {
			frame, err := f.frame(ctx, c.ID)
			if errors.Is(err, trust.ErrNotFound) {
				return fmt.Errorf("the repository lacks chunk %s: %w", c.ID, err)
			}
			if err != nil {
				return err
			}
			plain, err := firmware.DecodeChunk(frame, c.ID, int(c.Size))
			if err != nil {
				return err
			}
			return deliver(plain, c.ID)
		})
	}
	return g.Wait()
}

// seedFile is a firmware.Source over an open file.
type seedFile struct {
	*firmware.Seed
	io.Closer
}

func (f *found) seed(ctx context.Context, o extractFlags) (seedFile, error) {
	product, version, err := parseRelease(o.seedRelease)
	if err != nil {
		return seedFile{}, err
	}
	x, err := f.another(ctx, product, version, o.component)
	if err != nil {
		return seedFile{}, err
	}
	file, err := os.Open(o.seed)
	if err != nil {
		return seedFile{}, err
	}
	return seedFile{firmware.NewSeed(x, file), file}, nil
}
