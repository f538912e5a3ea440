package release_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server's releases with everything real below them.
type world struct {
	*testing.T
	*release.Releases
	blob   blob.Store
	stop   func()           // and waits for the end
	cancel func()           // and does not
	onRead func(key string) // called for each blob that the releases open; nil: nothing is
}

// Get implements blob.Store.
func (w *watched) Get(ctx context.Context, key string) (blob.Blob, error) {
	if w.world.onRead != nil {
		w.world.onRead(key)
	}
	return w.Store.Get(ctx, key)
}

// watched tells the world what is read.
type watched struct {
	blob.Store
	world *world
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return openWorld(t, storetest.New(t), t.TempDir())
}

func openWorld(t *testing.T, s *store.Store, folder string) *world {
	t.Helper()
	b, err := dir.Open(filepath.Join(folder, "blob"))
	if err != nil {
		t.Fatal(err)
	}
	key := func(name string) keys.Signer {
		k, err := keys.LoadOrGenerate(filepath.Join(folder, name+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	o := repository.Options{
		Files: blob.Files{Store: b, Prefix: "repo/"},
		Keys:  repository.Keys{Root: key("root"), Targets: key("targets"), Snapshot: key("online"), Timestamp: key("online")},
	}
	o.PolicyKeys = public.Any(key("policy").Public())
	repo, err := repository.Open(t.Context(), o)
	if err != nil {
		if repo, err = repository.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{T: t, blob: b}
	w.Releases, err = release.New(release.Options{
		Store: s, Blob: &watched{b, w}, Repository: repo,
		Verifier: &release.Trust{Dir: filepath.Join(folder, "trust"), Root: repo.Root, Blob: b},
		Uploads:  filepath.Join(folder, "uploads"), Keys: filepath.Join(folder, "keys"),
		MaxImage: 64 << 20, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// run runs the builder until the test ends or stop is called.
func (w *world) run() *world {
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error, 1)
	go func() { done <- w.Releases.Run(ctx) }()
	stopped := false
	w.cancel = cancel
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
	}
	w.Cleanup(w.stop)
	return w
}

func image(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for i := range b {
		b[i] = "abcdefgh"[r.IntN(8)]
	}
	return b
}

func (w *world) upload(img []byte) string {
	w.Helper()
	u, err := w.CreateUpload(w.Context(), "image", int64(len(img)), "tester")
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.Append(w.Context(), u.ID, 0, bytes.NewReader(img)); err != nil {
		w.Fatal(err)
	}
	return u.ID
}

func request(version, upload string) release.Request {
	return release.Request{Product: "edge-gw", Version: version, Hardware: []string{"qemu-arm64"}, Upload: upload}
}

// settled waits until a release is no longer building.
func (w *world) settled(version string) release.Release {
	w.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		r, err := w.Get(w.Context(), "edge-gw", version)
		if err != nil {
			w.Fatal(err)
		}
		if r.State != release.Building {
			return r
		}
	}
	w.Fatal("still building")
	return release.Release{}
}

func refused(t *testing.T, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want one that is %v and says %q", err, want, says)
	}
}

func TestReleaseFromUpload(t *testing.T) {
	w := newWorld(t).run()
	img := image(3<<20, 1)
	begun, err := w.Create(t.Context(), request("1.0.0", w.upload(img)), "tester")
	if err != nil {
		t.Fatal(err)
	}
	if begun.State != release.Building {
		t.Errorf("begun as %s", begun.State)
	}
	r := w.settled("1.0.0")
	if r.State != release.Published || r.Error != "" {
		t.Fatalf("%s: %s", r.State, r.Error)
	}
	c := r.Manifest.Components[0]
	if c.SHA256 != firmware.Sum(img) || c.Size != int64(len(img)) || r.Size.Distinct == 0 || r.Size.Distinct > c.Size || r.Counter != 1 || r.Size.NewChunks != r.Size.Stored {
		t.Errorf("release %+v", r)
	}
	// The same bytes again are the same release; the second upload is dropped.
	second := w.upload(img)
	again, err := w.Create(t.Context(), request("1.0.0", second), "tester")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, again); diff != "" {
		t.Error(diff)
	}
	if _, err := w.Upload(t.Context(), second); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the second upload is still here: %v", err)
	}
	_, err = w.Create(t.Context(), request("1.0.0", w.upload(image(1<<20, 2))), "tester")
	refused(t, err, release.ErrConflict, "new version")
	if after, _ := w.Get(t.Context(), "edge-gw", "1.0.0"); !cmp.Equal(r, after) {
		t.Error("a refused request changed the release")
	}
	// A small change makes few new bytes, and the counter rises.
	changed := bytes.Clone(img)
	copy(changed[1<<20:], "changed")
	if _, err := w.Create(t.Context(), request("1.1.0", w.upload(changed)), "tester"); err != nil {
		t.Fatal(err)
	}
	next := w.settled("1.1.0")
	if next.Counter != 2 || next.Size.NewChunks*5 > next.Size.Stored || next.Size.NewChunks == 0 {
		t.Errorf("release %+v", next)
	}
	all, err := w.List(t.Context(), "")
	if err != nil || len(all) != 2 || all[0].Version != "1.1.0" {
		t.Errorf("list: %v %v", all, err)
	}
	yanked, err := w.Yank(t.Context(), "edge-gw", "1.0.0")
	if err != nil || yanked.State != release.Yanked {
		t.Errorf("yank: %s %v", yanked.State, err)
	}
}

func TestBadRequests(t *testing.T) {
	w := newWorld(t).run()
	_, err := w.CreateUpload(t.Context(), "x", 0, "t")
	refused(t, err, release.ErrInvalid, "empty")
	_, err = w.CreateUpload(t.Context(), "x", 65<<20, "t")
	refused(t, err, firmware.ErrTooLarge, "takes up to")

	u, err := w.CreateUpload(t.Context(), "x", 10, "t")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Create(t.Context(), request("1.0.0", u.ID), "t")
	refused(t, err, release.ErrConflict, "0 of 10 bytes")
	_, err = w.Append(t.Context(), u.ID, 3, strings.NewReader("abc"))
	refused(t, err, release.ErrConflict, "go on from there")
	_, err = w.Append(t.Context(), u.ID, 0, strings.NewReader("more than ten bytes"))
	refused(t, err, firmware.ErrTooLarge, "more bytes")
	_, err = w.Create(t.Context(), request("1.0.0", "nothing"), "t")
	refused(t, err, store.ErrNotFound, "upload the image again")

	q := request("1.0.0", u.ID)
	q.Hardware = nil
	_, err = w.Create(t.Context(), q, "t")
	refused(t, err, release.ErrInvalid, "hardware")
	q = request("../1", u.ID)
	_, err = w.Create(t.Context(), q, "t")
	refused(t, err, firmware.ErrMalformed, "version")
	q = request("1", u.ID)
	q.Components = []firmware.Component{{}}
	_, err = w.Create(t.Context(), q, "t")
	refused(t, err, release.ErrInvalid, "exactly one")
	_, err = w.Create(t.Context(), release.Request{Product: "nobody", Version: "1", Signed: &release.Signed{Manifest: []byte("{}")}}, "t")
	refused(t, err, firmware.ErrMalformed, "manifest")
	_, _, err = w.Role(t.Context(), "nobody")
	refused(t, err, store.ErrNotFound, "no product")
	if all, err := w.List(t.Context(), ""); len(all) != 0 || err != nil {
		t.Errorf("something was made: %v %v", all, err)
	}
}

// A broken connection keeps what arrived; a second sender at the same time is refused.
func TestUploadGoesOn(t *testing.T) {
	w := newWorld(t)
	img := image(1<<20, 4)
	u, err := w.CreateUpload(t.Context(), "x", int64(len(img)), "t")
	if err != nil {
		t.Fatal(err)
	}
	half := io.MultiReader(bytes.NewReader(img[:300_000]), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := w.Append(t.Context(), u.ID, 0, half); err == nil {
		t.Error("a broken body was no error")
	}
	pr, pw := io.Pipe()
	sending := make(chan error, 1)
	go func() {
		_, err := w.Append(t.Context(), u.ID, 300_000, pr)
		sending <- err
	}()
	if _, err := pw.Write(img[300_000:300_010]); err != nil { // the first sender has the lock now
		t.Fatal(err)
	}
	_, err = w.Append(t.Context(), u.ID, 300_000, bytes.NewReader(img[300_000:]))
	refused(t, err, release.ErrConflict, "another request")
	pw.Close()
	if err := <-sending; err != nil {
		t.Error(err)
	}
	u, err = w.Append(t.Context(), u.ID, 300_010, bytes.NewReader(img[300_010:]))
	if err != nil || u.Offset != u.Size {
		t.Fatalf("%+v %v", u, err)
	}
	if _, err := w.run().Create(t.Context(), request("1", u.ID), "t"); err != nil {
		t.Fatal(err)
	}
	if r := w.settled("1"); r.Manifest == nil || r.Manifest.Components[0].SHA256 != firmware.Sum(img) {
		t.Errorf("%+v", r)
	}
}

// A server that ends while it builds goes on with it when it starts again.
func TestBuildGoesOnAfterRestart(t *testing.T) {
	s, folder := storetest.New(t), t.TempDir()
	first := openWorld(t, s, folder)
	img := image(2<<20, 8)
	if _, err := first.Create(t.Context(), request("1", first.upload(img)), "t"); err != nil {
		t.Fatal(err)
	} // nobody ran the builder
	second := openWorld(t, s, folder).run()
	if r := second.settled("1"); r.State != release.Published || r.Counter != 1 || r.Manifest.Components[0].SHA256 != firmware.Sum(img) {
		t.Errorf("%+v", r)
	}
}
