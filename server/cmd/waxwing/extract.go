package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
	"github.com/waxwing-ota/waxwing/firmware/remote"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// extractMemory bounds what is kept before garbage is collected, as on a device: what is extracted here is to show what that
// needs. The index of a large payload comes on top.
const extractMemory, extractMemoryPerChunk = 16 << 20, 256

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
are taken from there; with the file of an earlier release, name it in --seed-release. Where the repository has a pack of
patches from that release, what changed comes as patches; a seed that is damaged costs bytes, never correctness. What
--out holds already is kept, so a killed extraction goes on.

The repository is a folder or a URL. Patches are read as ranges of a file; from a web server that does not know ranges
(such as python3 -m http.server) a pack of up to 64 MB is read at once.

With -o json: size and reused_bytes count plain bytes of the payload, the others bytes as they were read from the
repository: index_bytes, patch_bytes and chunk_bytes as in "waxwing release cost", fetched_bytes the three together, and
metadata_bytes beside them for what a device has already or fetches without an update: signed metadata and the index of
the seed.

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
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(extractMemory))
	from := remote.Options{Decoders: 1, Requests: 2, Whole: wholePack, Log: a.log()}
	var seeds []firmware.Source
	if o.seed != "" {
		seed, base, err := r.seed(ctx, o)
		if err != nil {
			return err
		}
		defer seed.Close()
		from.Base, seeds = base, append(seeds, seed)
	}
	w, err := r.way(ctx, part, from)
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(extractMemory + extractMemoryPerChunk*int64(len(w.index.Chunks)))
	out, err := os.OpenFile(o.out, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	stats, err := a.assemble(ctx, w, out, part, seeds)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	line := w.Traffic()
	line.Index += w.whole
	fetched := line.Index + line.Patch + line.Chunk
	return a.print(map[string]any{
		"out": o.out, "sha256": part.SHA256, "size": stats.Total, "reused_bytes": stats.Reused, "written_bytes": stats.Written,
		"fetched_bytes": fetched, "index_bytes": line.Index, "patch_bytes": line.Patch, "chunk_bytes": line.Chunk,
		"metadata_bytes": r.files.bytes.Load() - fetched,
	}, func(w io.Writer) {
		row(w, "SIZE", "REUSED", "FETCHED", "SHA256")
		row(w, size(stats.Total), size(stats.Reused), size(fetched), part.SHA256)
	})
}

// wholePack is the largest pack that is read at once from a server that does not know ranges.
const wholePack = 64 << 20

func (a *app) assemble(
	ctx context.Context, w *way, out *os.File, part firmware.Component, seeds []firmware.Source,
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
		Index: w.index, Digest: part.SHA256, Target: assemble.File{File: out}, Seeds: seeds, Progress: func(s assemble.Stats) { m.at(s.Done) },
	})
	stats, err := assembly.Run(ctx, func(ctx context.Context, missing []firmware.Chunk, deliver assemble.Deliver) error {
		_, err := w.Fetch(ctx, missing, deliver)
		if errors.Is(err, trust.ErrNotFound) {
			err = fmt.Errorf("the repository is not complete: %w", err)
		}
		return err
	})
	if err == nil {
		m.end("%s is whole and genuine", out.Name())
	}
	return stats, err
}

// seedFile is a firmware.Source over an open file.
type seedFile struct {
	*firmware.Seed
	io.Closer
}

// seed opens the payload of an earlier release, as a source of chunks and as the base of patches.
func (f *found) seed(ctx context.Context, o extractFlags) (seedFile, *remote.Base, error) {
	product, version, err := parseRelease(o.seedRelease)
	if err != nil {
		return seedFile{}, nil, err
	}
	m, err := f.look(ctx, product, version)
	if err != nil {
		return seedFile{}, nil, fmt.Errorf("--seed-release %s: %w", o.seedRelease, err)
	}
	x, err := f.trust.Index(ctx, m, o.component)
	if err != nil {
		return seedFile{}, nil, err
	}
	file, err := os.Open(o.seed)
	if err != nil {
		return seedFile{}, nil, err
	}
	part, _ := m.Component(o.component) // its index was found
	return seedFile{firmware.NewSeed(x, file), file}, &remote.Base{SHA256: part.SHA256, Index: x, Payload: file}, nil
}
