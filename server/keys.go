package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// keyring is the keys that this server signs with.
type keyring struct {
	root, targets, snapshot, timestamp, policy *keys.File
}

// openRepository opens the repository and the keys that sign it. Where there is none, it makes the development trust and
// returns true.
func openRepository(ctx context.Context, o Options, b blob.Store) (*repository.Repository, *keyring, bool, error) {
	dir := filepath.Join(o.Data, "keys")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, false, err
	}
	_, err := b.Stat(ctx, release.RepoPrefix+"metadata/timestamp.json")
	begun := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, false, err
	}
	ring, err := openKeys(dir, begun)
	if err != nil {
		return nil, nil, false, err
	}
	ro := repository.Options{
		Files:      blob.Files{Store: b, Prefix: release.RepoPrefix},
		Keys:       repository.Keys{Root: ring.root, Targets: ring.targets, Snapshot: ring.snapshot, Timestamp: ring.timestamp},
		PolicyKeys: public.Any(ring.policy.Public()), Now: o.Now,
	}
	if begun {
		r, err := repository.Open(ctx, ro)
		return r, ring, false, err
	}
	// Without a timestamp nobody has seen anything of it: what lies there is of a first start that was cut short.
	if err := sweepMetadata(ctx, b); err != nil {
		return nil, nil, false, err
	}
	r, err := repository.Create(ctx, ro)
	return r, ring, true, err
}

// openKeys reads the keys. They are made only for a repository that has not begun: new keys for one that has would make
// every device refuse it.
func openKeys(dir string, begun bool) (*keyring, error) {
	open := keys.LoadOrGenerate
	if begun {
		open = keys.Load
	}
	ring := &keyring{}
	for name, at := range map[string]**keys.File{
		"root": &ring.root, "targets": &ring.targets, "snapshot": &ring.snapshot, "timestamp": &ring.timestamp, "policy": &ring.policy,
	} {
		key, err := open(filepath.Join(dir, name+".pem"))
		if err != nil {
			return nil, fmt.Errorf("signing key %s (the repository needs the keys it began with; restore %s from a backup): %w", name, dir, err)
		}
		*at = key
	}
	return ring, nil
}

func sweepMetadata(ctx context.Context, b blob.Store) error {
	var found []string
	err := b.List(ctx, release.RepoPrefix+"metadata/", func(key string, _ int64) error {
		found = append(found, key)
		return nil
	})
	for _, key := range found {
		err = errors.Join(err, b.Delete(ctx, key))
	}
	return err
}
