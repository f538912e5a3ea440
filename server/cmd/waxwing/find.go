package main

import (
	"context"
	"fmt"
	"os"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// found is a release in a static repository, verified as a device would.
type found struct {
	files    *counted
	trust    *trust.Trust
	manifest *firmware.Manifest
	dir      string

	// differences are the ways to have an index as a difference, by the path of the index.
	differences map[string]func(context.Context) ([]byte, error)
}

// find verifies the repository and the release. The caller closes it.
func find(ctx context.Context, l location, name string) (*found, error) {
	product, version, err := parseRelease(name)
	if err != nil {
		return nil, err
	}
	files, err := l.open()
	if err != nil {
		return nil, err
	}
	f := &found{files: &counted{Files: files}, differences: map[string]func(context.Context) ([]byte, error){}}
	root, err := l.trusted(ctx, f.files)
	if err != nil {
		return nil, err
	}
	if f.dir, err = os.MkdirTemp("", "waxwing-"); err != nil {
		return nil, err
	}
	if err := f.open(ctx, root, product, version); err != nil {
		f.close()
		return nil, fmt.Errorf("release %s in %s: %w", name, l.at, err)
	}
	return f, nil
}

func (f *found) open(ctx context.Context, root []byte, product, version string) (err error) {
	if f.trust, err = trust.Open(trust.Options{Dir: f.dir, Root: root, Fetch: f}); err != nil {
		return err
	}
	if err = f.trust.Refresh(ctx); err != nil {
		return err
	}
	f.manifest, err = f.look(ctx, product, version)
	return err
}

// look finds a release by name; the error matches trust.ErrNotFound when the signed metadata does not list it.
func (f *found) look(ctx context.Context, product, version string) (*firmware.Manifest, error) {
	_, m, err := f.trust.Find(ctx, product, version)
	return m, err
}

func (f *found) close() { _ = os.RemoveAll(f.dir) }

func (f *found) index(ctx context.Context, component string) (*firmware.Index, error) {
	return f.trust.Index(ctx, f.manifest, component)
}

// Fetch implements trust.Fetcher: an index comes as a difference where there is one. Trust verifies it like any other.
func (f *found) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	if difference := f.differences[path]; difference != nil {
		if b, err := difference(ctx); err == nil {
			return b, nil
		}
	}
	return f.files.Fetch(ctx, path, limit)
}

// way is how the chunks of a component come: from a base where the repository has patches for it.
type way struct {
	*remote.Remote
	index *firmware.Index
	whole int64 // bytes of the index that came whole, because there was no difference
}

// way looks for the cheapest way to a component, for a device that holds base, or nothing when base is nil.
func (f *found) way(ctx context.Context, part firmware.Component, o remote.Options) (*way, error) {
	o.Files, o.Target = f.files, part.SHA256
	r, err := remote.Open(ctx, o)
	if err != nil {
		o.Log.Warn("patches are not used; chunks are fetched whole", "error", err)
	}
	w := &way{Remote: r, whole: part.Index.Size}
	path := firmware.TargetPath(firmware.IndexTarget(f.manifest.Product, f.manifest.Version, part.Name), part.Index.SHA256)
	f.differences[path] = func(ctx context.Context) ([]byte, error) {
		b, err := r.Index(ctx, part.Index)
		if err == nil {
			w.whole = 0
		}
		return b, err
	}
	defer delete(f.differences, path)
	if w.index, err = f.index(ctx, part.Name); err != nil {
		return nil, err
	}
	r.Use(w.index)
	return w, nil
}

// frame reads a chunk as it is stored.
func (f *found) frame(ctx context.Context, id firmware.ChunkID) ([]byte, error) {
	return f.files.Fetch(ctx, "chunks/"+firmware.ChunkPath(id), firmware.MaxFrameSize)
}
