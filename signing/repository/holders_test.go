package repository_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// ecdsaKey is a key of the other algorithm.
func ecdsaKey(t *testing.T) *keys.File {
	t.Helper()
	k, err := keys.Make(filepath.Join(t.TempDir(), "key.pem"), keys.New{Algorithm: public.ECDSA})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rule(threshold int, of ...*keys.File) public.Rule {
	r := public.Rule{Threshold: threshold}
	for _, k := range of {
		r.Keys = append(r.Keys, k.Public())
	}
	return r
}

// trusted is the keys of a repository whose root and targets are offline, two of three.
type trusted struct {
	t                           *testing.T
	disk                        *disk
	root, targets               []*keys.File
	snapshot, timestamp, policy *keys.File
	now                         time.Time
	repo                        *repository.Repository
}

func (c *trusted) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *trusted) options() repository.Options {
	return repository.Options{
		Files: c.disk, Keys: repository.Keys{Snapshot: c.snapshot, Timestamp: c.timestamp}, Now: func() time.Time { return c.now },
	}
}

func (c *trusted) plan() repository.Plan {
	return repository.Plan{
		Root: rule(2, c.root...), Targets: rule(2, c.targets...), Snapshot: rule(1, c.snapshot), Timestamp: rule(1, c.timestamp),
	}
}

// pass has drafts signed, each on a copy of its own as if on another machine, and combines them.
func (c *trusted) pass(drafts []*repository.Draft, by ...*keys.File) []*repository.Draft {
	c.t.Helper()
	var out []*repository.Draft
	for _, d := range drafts {
		copies := []*repository.Draft{d}
		for _, k := range by {
			b, err := d.Encode()
			c.must(err)
			its, err := repository.ParseDraft(b)
			c.must(err)
			if err := its.Sign(k); err != nil && !errors.Is(err, repository.ErrInvalid) {
				c.t.Fatal(err)
			}
			copies = append(copies, its)
		}
		combined, err := repository.Combine(copies...)
		c.must(err)
		out = append(out, combined)
	}
	return out
}

func (c *trusted) drafts(err error) []*repository.Draft {
	c.t.Helper()
	var offline *repository.OfflineError
	if !errors.As(err, &offline) || !errors.Is(err, repository.ErrOffline) {
		c.t.Fatalf("no drafts: %v", err)
	}
	return offline.Drafts
}

// device returns a device that begins with the first root; the same folder remembers.
func (c *trusted) device(dir string) *trust.Trust {
	c.t.Helper()
	d, err := trust.Open(trust.Options{
		Dir: dir, Root: c.disk.files["metadata/1.root.json"], Device: "d-1", Now: func() time.Time { return c.now }, Fetch: fetcher{c.disk},
	})
	c.must(err)
	return d
}

func (c *trusted) follows(d *trust.Trust) {
	c.t.Helper()
	c.must(d.Refresh(c.t.Context()))
}

type fetcher struct{ disk *disk }

func (f fetcher) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	b, err := f.disk.Get(ctx, path)
	if err != nil {
		return nil, trust.ErrNotFound
	}
	if int64(len(b)) > limit {
		return nil, firmware.ErrTooLarge
	}
	return b, nil
}

func begin(t *testing.T) *trusted {
	t.Helper()
	c := &trusted{
		t: t, disk: &disk{files: map[string][]byte{}}, now: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		root: []*keys.File{key(t), ecdsaKey(t), key(t)}, targets: []*keys.File{key(t), key(t), ecdsaKey(t)},
		snapshot: key(t), timestamp: key(t), policy: key(t),
	}
	drafts, err := repository.Begin(c.plan(), policy.Keys{Schema: 1, Policy: rule(1, c.policy)}, c.now)
	c.must(err)
	if _, err := repository.CreateFrom(t.Context(), c.options(), drafts...); !errors.Is(err, repository.ErrInvalid) {
		t.Fatalf("nobody has signed: %v", err)
	}
	drafts = c.pass(drafts, c.root[0], c.root[2], c.targets[1], c.targets[2])
	c.repo, err = repository.CreateFrom(t.Context(), c.options(), drafts...)
	c.must(err)
	return c
}
