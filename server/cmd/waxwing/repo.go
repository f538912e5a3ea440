package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// repo is a static repository in a folder: DIR/metadata, DIR/targets, DIR/chunks, and the development keys in DIR/keys.
type repo struct {
	dir    string
	blob   blob.Store
	chunks build.Store
	signed *repository.Repository
	opens  keys.Options // of product keys
}

// openRepo opens the repository in a folder, and begins one where there is none.
func openRepo(ctx context.Context, folder string, opens keys.Options) (*repo, error) {
	b, err := dir.Open(folder)
	if err != nil {
		return nil, err
	}
	r := &repo{dir: folder, blob: b, chunks: build.Store{Blob: b}, opens: opens}
	if err := os.MkdirAll(filepath.Join(folder, "keys"), 0o700); err != nil {
		return nil, err
	}
	_, err = b.Stat(ctx, "metadata/timestamp.json")
	begun := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if begun { // whose keys are not here, holders have
		held, err := heldKeys(folder)
		if err != nil {
			return nil, fmt.Errorf("the repository in %s cannot be changed without its keys: %w", folder, err)
		}
		r.signed, err = repository.Open(ctx, repository.Options{Files: blob.Files{Store: b}, Keys: repository.Keys{Others: held}})
		return r, err
	}
	held := map[string]*keys.File{}
	for _, name := range []string{"root", "targets", "snapshot", "timestamp", "policy"} {
		if held[name], err = keys.LoadOrGenerate(r.keyFile(name)); err != nil {
			return nil, err
		}
	}
	o := repository.Options{
		Files:      blob.Files{Store: b},
		Keys:       repository.Keys{Root: held["root"], Targets: held["targets"], Snapshot: held["snapshot"], Timestamp: held["timestamp"]},
		PolicyKeys: public.Any(held["policy"].Public()),
	}
	// What lies there without a timestamp is of a beginning that was cut short.
	if err := os.RemoveAll(filepath.Join(folder, "metadata")); err != nil {
		return nil, err
	}
	r.signed, err = repository.Create(ctx, o)
	return r, err
}

func (r *repo) keyFile(name string) string { return filepath.Join(r.dir, "keys", name+".pem") }

// productKey returns the given product key, or the development key of the repository.
func (r *repo) productKey(ref, product string) (keys.Signer, error) {
	if ref != "" {
		return keys.Open(ref, r.opens)
	}
	return keys.LoadOrGenerate(r.keyFile("product-" + product))
}

// add publishes a payload that is in the chunk store. The same release again changes nothing and returns false.
func (r *repo) add(ctx context.Context, o imageFlags, cut *build.Result) (added bool, err error) {
	manifests, err := r.manifests(ctx, o.product)
	if err != nil {
		return false, err
	}
	part := component(cut)
	counter := uint64(1)
	for _, m := range manifests {
		if m.Version == o.version {
			if len(m.Components) == 1 && m.Components[0] == part && slices.Equal(m.Hardware, o.hardware) {
				return false, nil
			}
			return false, fmt.Errorf("%s %s: %w; give this one a new version", o.product, o.version, errConflict)
		}
		counter = max(counter, m.Counter+1)
	}
	key, err := r.productKey(o.key, o.product)
	if err != nil {
		return false, err
	}
	if err := r.signed.AddProduct(ctx, o.product, key.Public()); err != nil {
		return false, err
	}
	role, err := r.signed.Role(ctx, o.product)
	if err != nil {
		return false, err
	}
	m := &firmware.Manifest{
		Schema: 1, Product: o.product, Version: o.version, Counter: counter, Hardware: o.hardware, Components: []firmware.Component{part},
	}
	encoded := cut.Index.Encode()
	signed, err := sign(role, m, map[string][]byte{rootfs: encoded}, key, time.Now())
	if err != nil {
		return false, err
	}
	return true, r.signed.Publish(ctx, o.product, signed.Role, map[string][]byte{
		firmware.ManifestTarget(o.product, o.version): signed.Manifest, firmware.IndexTarget(o.product, o.version, rootfs): encoded,
	})
}

// manifests reads the manifests that the product's role lists.
func (r *repo) manifests(ctx context.Context, product string) ([]*firmware.Manifest, error) {
	role, err := r.signed.Role(ctx, product)
	if err != nil || role == nil {
		return nil, err
	}
	var listed struct {
		Signed struct {
			Targets map[string]struct {
				Hashes struct{ SHA256 firmware.Digest } `json:"hashes"`
			} `json:"targets"`
		} `json:"signed"`
	}
	if err := json.NewDecoder(bytes.NewReader(role)).Decode(&listed); err != nil {
		return nil, fmt.Errorf("role of %s: %w", product, err)
	}
	var all []*firmware.Manifest
	for name, target := range listed.Signed.Targets {
		if !strings.HasSuffix(name, "/release.json") {
			continue
		}
		b, err := build.Read(ctx, r.blob, firmware.TargetPath(name, target.Hashes.SHA256), firmware.MaxManifestSize)
		if err != nil {
			return nil, err
		}
		m, err := firmware.ParseManifest(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, m)
	}
	return all, nil
}
