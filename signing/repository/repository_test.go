package repository_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// disk is Files in memory that can fail at a chosen write, as a full disk or a power cut would.
type disk struct {
	files map[string][]byte
	fail  int // the write that fails, counted down; 0: none
}

var errDisk = errors.New("disk failed")

func (d *disk) Get(_ context.Context, path string) ([]byte, error) {
	if b, ok := d.files[path]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

func (d *disk) Put(_ context.Context, path string, b []byte) error {
	if d.fail > 0 {
		if d.fail--; d.fail == 0 {
			return errDisk
		}
	}
	d.files[path] = b
	return nil
}

func key(t *testing.T) *keys.File {
	t.Helper()
	k, err := keys.Generate(filepath.Join(t.TempDir(), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type fixture struct {
	disk *disk
	o    repository.Options
	repo *repository.Repository
	gw   *keys.File
	now  time.Time
}

func setUp(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{disk: &disk{files: map[string][]byte{}}, gw: key(t), now: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
	f.o = repository.Options{
		Files: f.disk, PolicyKeys: public.Any(key(t).Public()), Now: func() time.Time { return f.now },
		Keys: repository.Keys{Root: key(t), Targets: key(t), Snapshot: key(t), Timestamp: key(t)},
	}
	var err error
	if f.repo, err = repository.Create(t.Context(), f.o); err != nil {
		t.Fatal(err)
	}
	if err := f.repo.AddProduct(t.Context(), "gw", f.gw.Public()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) sign(t *testing.T, version, content string) ([]byte, map[string][]byte) {
	t.Helper()
	role, err := f.repo.Role(t.Context(), "gw")
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string][]byte{"gw/" + version + "/release.json": []byte(content)}
	role, err = repository.SignRelease(role, "gw", targets, f.gw, f.now)
	if err != nil {
		t.Fatal(err)
	}
	return role, targets
}

func TestPublish(t *testing.T) {
	f := setUp(t)
	role, targets := f.sign(t, "1", "one")
	for range 2 { // the second time is no change
		if err := f.repo.Publish(t.Context(), "gw", role, targets); err != nil {
			t.Fatal(err)
		}
	}
	before := f.repo.SnapshotVersion()

	reopened, err := repository.Open(t.Context(), f.o)
	if err != nil || reopened.SnapshotVersion() != before {
		t.Fatalf("reopened at %v, %v", reopened, err)
	}
	if err := reopened.AddProduct(t.Context(), "gw", f.gw.Public()); err != nil || reopened.SnapshotVersion() != before {
		t.Fatalf("the same product again: %v", err)
	}
	if err := reopened.AddProduct(t.Context(), "gw", key(t).Public()); !errors.Is(err, repository.ErrExists) {
		t.Fatalf("another key for the product: %v", err)
	}
	if _, err := repository.Create(t.Context(), f.o); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("created twice: %v", err)
	}
}

func TestPublishRefuses(t *testing.T) {
	f := setUp(t)
	role, targets := f.sign(t, "1", "one")
	if err := f.repo.Publish(t.Context(), "gw", role, targets); err != nil {
		t.Fatal(err)
	}
	second, _ := f.sign(t, "2", "two")
	at := f.repo.SnapshotVersion()
	strange, strangeTargets := func() ([]byte, map[string][]byte) {
		targets := map[string][]byte{"gw/3/release.json": []byte("three")}
		b, err := repository.SignRelease(role, "gw", targets, key(t), f.now)
		if err != nil {
			t.Fatal(err)
		}
		return b, targets
	}()
	fresh, freshTargets := func() ([]byte, map[string][]byte) { // forgets what was published
		targets := map[string][]byte{"gw/3/release.json": []byte("three")}
		b, _ := repository.SignRelease(nil, "gw", targets, f.gw, f.now)
		return b, targets
	}()
	for name, c := range map[string]struct {
		role    []byte
		targets map[string][]byte
		want    error
	}{
		"another's key":   {strange, strangeTargets, repository.ErrInvalid},
		"no next version": {fresh, freshTargets, repository.ErrExists},
		"other bytes":     {second, map[string][]byte{"gw/2/release.json": []byte("TWO")}, repository.ErrInvalid},
		"unlisted":        {second, map[string][]byte{"gw/9/release.json": []byte("two")}, repository.ErrInvalid},
		"not a role":      {[]byte("{}"), nil, repository.ErrInvalid},
	} {
		if err := f.repo.Publish(t.Context(), "gw", c.role, c.targets); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if f.repo.SnapshotVersion() != at {
			t.Fatalf("%s: something was published", name)
		}
	}
	if _, err := repository.SignRelease(role, "gw", map[string][]byte{"gw/1/release.json": []byte("uno")}, f.gw, f.now); !errors.Is(err, repository.ErrExists) {
		t.Errorf("same version with other bytes: %v", err)
	}
	if _, err := repository.SignRelease(role, "gw", map[string][]byte{"other/1/release.json": nil}, f.gw, f.now); !errors.Is(err, repository.ErrInvalid) {
		t.Errorf("outside the product: %v", err)
	}
}

// TestPublishCutAnywhere fails each write of a publication in turn. The publication is then done again, by the same
// process or after a restart, and what was visible before stays readable in between.
func TestPublishCutAnywhere(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for cut := 1; ; cut++ {
			f := setUp(t)
			role, targets := f.sign(t, "1", "one")
			f.disk.fail = cut
			err := f.repo.Publish(t.Context(), "gw", role, targets)
			if err == nil {
				if cut < 4 {
					t.Fatalf("a publication of %d writes", cut-1)
				}
				break
			}
			if !errors.Is(err, errDisk) {
				t.Fatal(err)
			}
			if restart {
				if f.repo, err = repository.Open(t.Context(), f.o); err != nil {
					t.Fatal(err)
				}
			}
			f.now = f.now.Add(time.Second) // signed again at another time: other bytes
			role, targets = f.sign(t, "1", "one")
			if err := f.repo.Publish(t.Context(), "gw", role, targets); err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			got, err := f.repo.Role(t.Context(), "gw")
			if err != nil || string(got) != string(role) {
				t.Fatalf("cut at %d: published another role, %v", cut, err)
			}
		}
	}
}

func TestRefreshRenewsAtHalfLife(t *testing.T) {
	f := setUp(t)
	version := func() int64 {
		md, err := metadata.Timestamp().FromBytes(f.disk.files["metadata/timestamp.json"])
		if err != nil {
			t.Fatal(err)
		}
		if !md.Signed.Expires.After(f.now) {
			t.Fatal("the timestamp has expired")
		}
		return md.Signed.Version
	}
	at := version()
	if err := f.repo.Refresh(t.Context()); err != nil || version() != at {
		t.Fatalf("renewed too early: %v", err)
	}
	for range 60 { // two months, every day
		f.now = f.now.Add(24 * time.Hour)
		if err := f.repo.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		version()
	}
	if version() == at {
		t.Fatal("never renewed")
	}
}
