package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// keyring is the keys that this server signs with.
type keyring struct {
	policy *keys.File
	roles  repository.Keys
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
		Keys:       ring.roles,
		PolicyKeys: public.Any(ring.policy.Public()), Now: o.Now,
	}
	if begun {
		r, err := repository.Open(ctx, ro)
		if err != nil {
			return nil, nil, false, err
		}
		if err := r.Online(); err != nil {
			return nil, nil, false, fmt.Errorf("%w; restore the keys in %s from a backup", err, dir)
		}
		return r, ring, false, r.RenewRoot(ctx) // of a development trust; holders renew their own
	}
	// Without a timestamp nobody has seen anything of it: what lies there is of a first start that was cut short.
	if err := sweepMetadata(ctx, b); err != nil {
		return nil, nil, false, err
	}
	r, err := repository.Create(ctx, ro)
	return r, ring, true, err
}

// openKeys reads the keys in a folder. They are made only for a repository that has not begun: new keys for one that has
// would make every device refuse it. Those of root and targets may be gone then: holders have them, or they are replaced.
// A file such as snapshot-2.pem is the next key of a role, which signs as soon as a root that names it is imported.
func openKeys(dir string, begun bool) (*keyring, error) {
	ring := &keyring{}
	for name, at := range map[string]*keys.Signer{
		"root": &ring.roles.Root, "targets": &ring.roles.Targets, "snapshot": &ring.roles.Snapshot, "timestamp": &ring.roles.Timestamp, "policy": nil,
	} {
		key, err := openKey(filepath.Join(dir, name+".pem"), begun)
		switch {
		case begun && errors.Is(err, fs.ErrNotExist) && at != nil:
			continue // whoever needs it says so
		case err != nil:
			return nil, fmt.Errorf("signing key %s (the repository needs the keys it began with; restore %s from a backup): %w", name, dir, err)
		case at == nil:
			ring.policy = key
		default:
			*at = key
		}
	}
	next, err := filepath.Glob(filepath.Join(dir, "*-[0-9]*.pem"))
	if err != nil {
		return nil, err
	}
	for _, name := range next {
		if strings.HasPrefix(filepath.Base(name), "product-") {
			continue
		}
		key, err := keys.Load(name)
		if err != nil {
			return nil, err
		}
		ring.roles.Others = append(ring.roles.Others, key)
	}
	return ring, nil
}

func openKey(file string, begun bool) (*keys.File, error) {
	if begun {
		return keys.Load(file)
	}
	return keys.LoadOrGenerate(file)
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
