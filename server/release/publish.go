package release

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// parts is what a release from pushed chunks consists of.
type parts struct {
	indexes map[string][]byte // component → encoded index
	size    Size
}

// checkParts reads every chunk of the release as a device will and compares payload and index with the manifest. A
// release that no device could assemble is refused here, not in the field.
func (r *Releases) checkParts(ctx context.Context, m *firmware.Manifest) (*parts, error) {
	p := &parts{indexes: map[string][]byte{}}
	before, err := r.knownChunks(ctx, m.Product)
	if err != nil {
		return nil, err
	}
	seen := map[firmware.ChunkID]bool{}
	for _, c := range m.Components {
		x, encoded, err := r.handedIn(c)
		if err != nil {
			return nil, err
		}
		whole := sha256.New()
		for _, chunk := range x.Chunks {
			frame, err := r.chunks.Frame(ctx, chunk.ID)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("component %s: chunk %s is not here; push the missing chunks first: %w", c.Name, chunk.ID, ErrConflict)
			}
			if err != nil {
				return nil, err
			}
			plain, err := firmware.DecodeChunk(frame, chunk.ID, int(chunk.Size))
			if err != nil {
				return nil, fmt.Errorf("component %s: %w", c.Name, err)
			}
			whole.Write(plain)
			if !seen[chunk.ID] {
				seen[chunk.ID] = true
				p.size.Chunks++
				p.size.Stored += int64(len(frame))
				p.size.Distinct += int64(chunk.Size)
				if !before[chunk.ID] {
					p.size.NewChunks += int64(len(frame))
				}
			}
		}
		if firmware.Digest(whole.Sum(nil)) != c.SHA256 {
			return nil, fmt.Errorf("component %s: its chunks join to another payload than %s: %w", c.Name, c.SHA256, firmware.ErrCorrupt)
		}
		p.size.Payload += c.Size
		p.indexes[c.Name] = encoded
	}
	return p, nil
}

// knownChunks returns the chunks of the product's newest release.
func (r *Releases) knownChunks(ctx context.Context, product string) (map[firmware.ChunkID]bool, error) {
	known := map[firmware.ChunkID]bool{}
	all, _, err := r.releases.List(ctx, store.Page{Prefix: product + "/"})
	if err != nil || len(all) == 0 {
		return known, err
	}
	newest := slices.MaxFunc(all, func(a, b store.Entry[Release]) int { return int(a.Value.Counter) - int(b.Value.Counter) })
	if newest.Value.Manifest == nil {
		return known, nil
	}
	for _, c := range newest.Value.Manifest.Components {
		x, err := r.index(ctx, &newest.Value, c)
		if err != nil {
			return nil, err
		}
		for _, chunk := range x.Chunks {
			known[chunk.ID] = true
		}
	}
	return known, nil
}

// index reads a published index.
func (r *Releases) index(ctx context.Context, rel *Release, c firmware.Component) (*firmware.Index, error) {
	target := firmware.IndexTarget(rel.Product, rel.Version, c.Name)
	b, err := build.Read(ctx, r.Blob, RepoPrefix+firmware.TargetPath(target, c.Index.SHA256), firmware.MaxIndexSize)
	if err != nil {
		return nil, err
	}
	return firmware.ParseIndex(b)
}

// publishManifest signs the manifest and its indexes, or takes what was signed elsewhere, makes them visible, reads them
// back as a device and writes the release as published.
func (r *Releases) publishManifest(
	ctx context.Context, rel Release, m *firmware.Manifest, indexes map[string][]byte, signed *Signed,
) (Release, error) {
	manifest, err := m.Encode()
	if err != nil {
		return rel, err
	}
	if signed != nil {
		manifest = signed.Manifest // as it was signed, to the byte
	}
	targets := map[string][]byte{firmware.ManifestTarget(rel.Product, rel.Version): manifest}
	for name, index := range indexes {
		targets[firmware.IndexTarget(rel.Product, rel.Version, name)] = index
	}
	if err := r.publishTargets(ctx, rel.Product, targets, signed); err != nil {
		return rel, err
	}
	rel.Manifest, rel.Digest, rel.Length = m, firmware.Sum(manifest), int64(len(manifest))
	named, err := rel.Policy()
	if err != nil {
		return rel, err
	}
	if err := r.Verifier.Verify(ctx, named); err != nil {
		return rel, fmt.Errorf("published, but a device would refuse it: %w", err)
	}
	rel.State, rel.Error, rel.Upload = Published, "", ""
	rel.Progress = Progress{Done: rel.Size.Payload, Total: rel.Size.Payload}
	e, err := r.releases.Update(ctx, rel.Name(), func(d *Release) error {
		*d = rel
		return nil
	})
	if err == nil {
		r.rousePatches()
		r.Log.Info("release published", "release", rel.Name(), "counter", rel.Counter, "chunks", rel.Size.Chunks, "new_bytes", rel.Size.NewChunks)
	}
	return e.Value, err
}

func (r *Releases) publishTargets(ctx context.Context, product string, targets map[string][]byte, signed *Signed) error {
	r.publish.Lock()
	defer r.publish.Unlock()
	var role []byte
	var err error
	if signed != nil {
		role = signed.Role
	} else if role, err = r.signRole(ctx, product, targets); err != nil {
		return err
	}
	err = r.Repository.Publish(ctx, product, role, targets)
	switch {
	case errors.Is(err, repository.ErrExists):
		return fmt.Errorf("%w: %w", err, ErrConflict)
	case errors.Is(err, repository.ErrInvalid):
		return fmt.Errorf("%w: %w", err, ErrInvalid)
	}
	return err
}

// Get returns one release; the error matches store.ErrNotFound.
func (r *Releases) Get(ctx context.Context, product, version string) (Release, error) {
	e, err := r.releases.Get(ctx, product+"/"+version)
	if errors.Is(err, store.ErrNotFound) {
		return Release{}, fmt.Errorf("there is no release %s of product %s; `waxwing release list` shows those that are: %w",
			version, product, store.ErrNotFound)
	}
	return e.Value, err
}

// List returns the releases of a product, or all, newest first.
func (r *Releases) List(ctx context.Context, product string) ([]Release, error) {
	var prefix string
	if product != "" {
		prefix = product + "/"
	}
	entries, _, err := r.releases.List(ctx, store.Page{Prefix: prefix})
	all := make([]Release, 0, len(entries))
	for _, e := range entries {
		all = append(all, e.Value)
	}
	slices.SortFunc(all, func(a, b Release) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Name(), b.Name())
	})
	return all, err
}

// Yank keeps new rollouts from using a release. Doing it again changes nothing.
func (r *Releases) Yank(ctx context.Context, product, version string) (Release, error) {
	if _, err := r.Get(ctx, product, version); err != nil {
		return Release{}, err
	}
	e, err := r.releases.Update(ctx, product+"/"+version, func(d *Release) error {
		if d.State != Published && d.State != Yanked {
			return fmt.Errorf("release %s is %s; only a published one can be yanked: %w", d.Name(), d.State, ErrConflict)
		}
		d.State = Yanked
		return nil
	})
	if err == nil {
		r.rousePatches()
	}
	return e.Value, err
}
