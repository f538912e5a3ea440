package repository_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// shared is Files that two processes write to: it keeps what was ever written under a name.
type shared struct {
	mu      sync.Mutex
	disk    disk
	written map[string]map[string]bool
}

func (s *shared) Get(ctx context.Context, path string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disk.Get(ctx, path)
}

func (s *shared) Put(ctx context.Context, path string, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(ctx, path, b)
}

func (s *shared) put(ctx context.Context, path string, b []byte) error {
	if s.written[path] == nil {
		s.written[path] = map[string]bool{}
	}
	s.written[path][string(b)] = true
	return s.disk.Put(ctx, path, b)
}

func (s *shared) PutNew(ctx context.Context, path string, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.disk.files[path]; ok {
		return fs.ErrExist
	}
	return s.put(ctx, path, b)
}

// TestTwoSigners lets two processes publish at once: no version is ever written with two contents, nothing that was
// published is lost, and a device that looks all the time follows (security case 75).
func TestTwoSigners(t *testing.T) {
	files := &shared{disk: disk{files: map[string][]byte{}}, written: map[string]map[string]bool{}}
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	o := repository.Options{
		Files: files, PolicyKeys: public.Any(key(t).Public()), Now: func() time.Time { return now },
		Keys: repository.Keys{Root: key(t), Targets: key(t), Snapshot: ecdsaKey(t), Timestamp: ecdsaKey(t)}, // no signature twice
	}
	if _, err := repository.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	gw := key(t).Public()
	var both sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		repo, err := repository.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		both.Go(func() {
			for n := range 10 {
				if err := repo.AddProduct(context.Background(), name+string(rune('0'+n)), gw); err != nil {
					t.Errorf("%s%d: %v", name, n, err)
				}
			}
		})
	}
	both.Wait()
	for path, contents := range files.written {
		if len(contents) > 1 && path != "metadata/timestamp.json" {
			t.Errorf("%s was written with %d contents", path, len(contents))
		}
	}
	repo, err := repository.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	at := repo.SnapshotVersion()
	for n := range 20 { // all are there: adding them again changes nothing
		if err := repo.AddProduct(t.Context(), string("ab"[n/10])+string(rune('0'+n%10)), gw); err != nil {
			t.Fatal(err)
		}
	}
	if repo.SnapshotVersion() != at {
		t.Error("a product was lost")
	}
	device, err := trust.Open(trust.Options{
		Dir: t.TempDir(), Root: files.disk.files["metadata/1.root.json"], Now: func() time.Time { return now }, Fetch: fetcher{&files.disk},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := device.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestTurns lets two processes publish releases of one product in turns: each goes on where the other was.
func TestTurns(t *testing.T) {
	f := setUp(t)
	other, err := repository.Open(t.Context(), f.o)
	if err != nil {
		t.Fatal(err)
	}
	both := []*repository.Repository{f.repo, other}
	for n := range 6 {
		f.repo = both[n%2]
		role, targets := f.sign(t, string(rune('1'+n)), "bytes")
		if err := f.repo.Publish(t.Context(), "gw", role, targets); err != nil {
			t.Fatalf("release %d: %v", n, err)
		}
	}
	role, err := both[0].Role(t.Context(), "gw")
	if err != nil {
		t.Fatal(err)
	}
	md, err := metadata.Targets().FromBytes(role)
	if err != nil || md.Signed.Version != 6 || len(md.Signed.Targets) != 6 {
		t.Fatalf("%v, %v", md, err)
	}
}

// TestRestore brings yesterday's files back: versions go on above what devices know (security case 77).
func TestRestore(t *testing.T) {
	c := begin(t)
	backup := maps.Clone(c.disk.files)
	d := c.device(t.TempDir())
	for range 5 { // what the backup does not know
		c.now = c.now.Add(8 * 24 * time.Hour)
		c.must(c.repo.Refresh(t.Context()))
		c.follows(d)
	}
	known := c.repo.SnapshotVersion()
	c.disk.files = backup
	var err error
	c.repo, err = repository.Open(t.Context(), c.options())
	c.must(err)
	c.must(c.repo.Refresh(t.Context()))
	if err := d.Refresh(t.Context()); !errors.Is(err, trust.ErrRollback) && !errors.Is(err, trust.ErrEquivocation) {
		t.Fatalf("the device follows back: %v", err)
	}
	for range 2 { // the second time is no change
		c.must(c.repo.Raise(t.Context(), known))
		if got := c.repo.SnapshotVersion(); got != known+1 {
			t.Fatalf("snapshot %d where devices know %d", got, known)
		}
	}
	c.follows(d)
	c.follows(c.device(t.TempDir()))
}
