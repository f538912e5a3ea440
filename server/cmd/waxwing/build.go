package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/server/release/packs"
)

func (a *app) releaseBuild() *cobra.Command {
	var o imageFlags
	var folder string
	var bases []string
	c := &cobra.Command{
		Use: "build", Short: "Add a release to a static repository in a folder", Args: cobra.NoArgs,
		Long: `Cut an image into the static repository in --repo, which is made when there is none, and sign it with --key or with a
development key that is made in DIR/keys. No server is needed. The folder can be served by any web server.

With --base, given once for each version that devices come from, a pack of patches is built into DIR/patches: a device that
runs this version fetches ranges of that file instead of whole chunks. Packs are not signed, because a device compares every
chunk with the signed index; so they may also be added later: the same image again, with another --base, adds its pack and
changes nothing else. A pack that is there is not built again.

With -o json: product, version, sha256 and size of the payload, chunks, stored_bytes (all chunks of the release,
compressed), new_bytes (those that the repository did not hold), and for each --base under patches its base, bytes of the
file, index_bytes of the index difference in it, groups, chunks that they carry, and built: false when it was there.`,
		Example: `  waxwing release build --repo r --product edge-gw --version 1.0.0 --hardware qemu-arm64 --image rootfs.ext4
  waxwing release build --repo r --product edge-gw --version 1.1.0 --hardware qemu-arm64 --image new.ext4 --base 1.0.0`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if folder == "" {
				return usage("--repo must be given")
			}
			return a.build(c.Context(), o, folder, bases)
		},
	}
	o.add(c)
	c.Flags().StringVar(&folder, "repo", "", "`DIR` of the static repository (required)")
	c.Flags().StringArrayVar(&bases, "base", nil, "`VERSION` that devices come from; it must be in the repository")
	return c
}

// patched is a pack as build tells of it.
type patched struct {
	Base  string `json:"base"`
	Bytes int64  `json:"bytes"`
	Index int64  `json:"index_bytes"`
	Group int    `json:"groups"`
	Chunk int    `json:"chunks"`
	Built bool   `json:"built"`
}

func (a *app) build(ctx context.Context, o imageFlags, folder string, bases []string) error {
	f, total, err := o.open()
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := openRepo(ctx, folder, a.keyOptions())
	if err != nil {
		return err
	}
	from, err := r.bases(ctx, o.product, bases)
	if err != nil {
		return err
	}
	m := a.meter("building", total)
	cut, err := build.Payload(ctx, f, build.Options{Chunks: r.chunks, Progress: m.at})
	if err != nil {
		return err
	}
	added, err := r.add(ctx, o, cut)
	if err != nil {
		return err
	}
	if added {
		m.end("%s %s is in %s: %d chunks, %s new", o.product, o.version, folder, cut.Chunks, size(cut.New))
	} else {
		m.end("%s %s is in %s already", o.product, o.version, folder)
	}
	patches := make([]patched, 0, len(from))
	for _, base := range from {
		one, err := a.patch(ctx, r, base, packs.Side{SHA256: cut.SHA256, Index: cut.Index, Bytes: f})
		if err != nil {
			return fmt.Errorf("--base %s: %w", base.Version, err)
		}
		patches = append(patches, one)
	}
	result := map[string]any{
		"product": o.product, "version": o.version, "sha256": cut.SHA256, "size": cut.Size,
		"chunks": cut.Chunks, "stored_bytes": cut.Stored, "new_bytes": cut.New, "patches": patches,
	}
	return a.print(result, func(w io.Writer) {
		row(w, "PRODUCT", "VERSION", "SIZE", "CHUNKS", "STORED", "NEW")
		row(w, o.product, o.version, size(cut.Size), cut.Chunks, size(cut.Stored), size(cut.New))
	})
}

// bases finds the manifests of the versions that devices come from.
func (r *repo) bases(ctx context.Context, product string, versions []string) ([]*firmware.Manifest, error) {
	manifests, err := r.manifests(ctx, product)
	if err != nil {
		return nil, err
	}
	known := map[string]*firmware.Manifest{}
	for _, m := range manifests {
		known[m.Version] = m
	}
	var bases []*firmware.Manifest
	for _, v := range versions {
		if known[v] == nil {
			return nil, fmt.Errorf("--base %s: %s has no such release in %s: %w", v, product, r.dir, errNotFound)
		}
		if !slices.Contains(bases, known[v]) {
			bases = append(bases, known[v])
		}
	}
	return bases, nil
}

// patch makes the pack from a base, if there is none.
func (a *app) patch(ctx context.Context, r *repo, base *firmware.Manifest, target packs.Side) (patched, error) {
	out := patched{Base: base.Version}
	part, ok := base.Component(rootfs)
	if !ok {
		return out, fmt.Errorf("it has no component %s: %w", rootfs, errNotFound)
	}
	if part.SHA256 == target.SHA256 {
		a.say("%s %s has the same image; there is nothing to patch", base.Product, base.Version)
		return out, nil
	}
	info, err := packs.Look(ctx, r.chunks, part.SHA256, target.SHA256)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, firmware.ErrCorrupt) || errors.Is(err, firmware.ErrMalformed) {
		info, err = a.buildPack(ctx, r, base, part, target)
		out.Built = true
	} else if err == nil {
		a.say("patches from %s are there already", base.Version)
	}
	out.Bytes, out.Index, out.Group, out.Chunk = info.Bytes, info.IndexBytes, info.Groups, info.Chunks
	return out, err
}

func (a *app) buildPack(
	ctx context.Context, r *repo, base *firmware.Manifest, part firmware.Component, target packs.Side,
) (packs.Info, error) {
	name := firmware.TargetPath(firmware.IndexTarget(base.Product, base.Version, part.Name), part.Index.SHA256)
	b, err := build.Read(ctx, r.blob, name, firmware.MaxIndexSize)
	if err != nil {
		return packs.Info{}, err
	}
	index, err := firmware.ParseIndex(b)
	if err != nil {
		return packs.Info{}, err
	}
	m := a.meter("making patches from "+base.Version+",", 0)
	info, err := packs.Build(ctx, packs.Options{
		Base: packs.Side{SHA256: part.SHA256, Index: index}, Target: target, Store: r.chunks, Progress: m.of,
	})
	if err == nil {
		m.end("patches from %s: %s for %d chunks", base.Version, size(info.Bytes), info.Chunks)
	}
	return info, err
}
