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
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server's releases with everything real below them.
type world struct {
	*testing.T
	*release.Releases
	blob blob.Store
	stop func()
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
	o.PolicyKeys = append(o.PolicyKeys, key("policy").Public())
	repo, err := repository.Open(t.Context(), o)
	if err != nil {
		if repo, err = repository.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	r, err := release.New(release.Options{
		Store: s, Blob: b, Repository: repo,
		Verifier: &release.Trust{Dir: filepath.Join(folder, "trust"), Root: repo.Root, Blob: b},
		Uploads:  filepath.Join(folder, "uploads"), Keys: filepath.Join(folder, "keys"),
		MaxImage: 64 << 20, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &world{T: t, Releases: r, blob: b}
}

// run runs the builder until the test ends or stop is called.
func (w *world) run() *world {
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error, 1)
	go func() { done <- w.Releases.Run(ctx) }()
	stopped := false
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
	if c.SHA256 != firmware.Sum(img) || c.Size != int64(len(img)) || r.Counter != 1 || r.Size.NewChunks != r.Size.Stored {
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

// push cuts an image as the command line does and hands the parts in.
func (w *world) push(img []byte) firmware.Component {
	w.Helper()
	local, err := dir.Open(w.TempDir())
	if err != nil {
		w.Fatal(err)
	}
	chunks := build.Store{Blob: local}
	r, err := build.Payload(w.Context(), bytes.NewReader(img), build.Options{Chunks: chunks})
	if err != nil {
		w.Fatal(err)
	}
	ids := make([]firmware.ChunkID, 0, len(r.Index.Chunks))
	for _, c := range r.Index.Chunks {
		ids = append(ids, c.ID)
	}
	missing, err := w.MissingChunks(w.Context(), ids)
	if err != nil {
		w.Fatal(err)
	}
	for _, id := range missing {
		frame, err := chunks.Frame(w.Context(), id)
		if err != nil {
			w.Fatal(err)
		}
		if err := w.PutChunk(w.Context(), id, bytes.NewReader(frame)); err != nil {
			w.Fatal(err)
		}
	}
	encoded := r.Index.Encode()
	if err := w.PutIndex(w.Context(), firmware.Sum(encoded), bytes.NewReader(encoded)); err != nil {
		w.Fatal(err)
	}
	return firmware.Component{
		Name: "rootfs", Handler: firmware.HandlerSlot, Size: r.Size, SHA256: r.SHA256,
		Index: firmware.File{Size: int64(len(encoded)), SHA256: firmware.Sum(encoded)},
	}
}

func TestReleaseFromParts(t *testing.T) {
	w := newWorld(t)
	q := release.Request{Product: "edge-gw", Version: "1", Hardware: []string{"a"}, Components: []firmware.Component{w.push(image(1<<20, 5))}}
	r, err := w.Create(t.Context(), q, "t")
	if err != nil {
		t.Fatal(err)
	}
	if r.State != release.Published || r.Size.Payload != 1<<20 || r.Size.Stored == 0 || r.Size.NewChunks != r.Size.Stored {
		t.Errorf("%+v", r)
	}
	again, err := w.Create(t.Context(), q, "t")
	if err != nil || !cmp.Equal(r, again) {
		t.Errorf("again: %v %s", err, cmp.Diff(r, again))
	}
	lie := q
	lie.Version, lie.Components = "2", []firmware.Component{q.Components[0]}
	lie.Components[0].SHA256 = firmware.Sum([]byte("other"))
	_, err = w.Create(t.Context(), lie, "t")
	refused(t, err, firmware.ErrCorrupt, "another payload")
	lie.Components[0].Index.SHA256 = firmware.Sum([]byte("no such index"))
	_, err = w.Create(t.Context(), lie, "t")
	refused(t, err, release.ErrConflict, "send it first")
	_, err = w.Get(t.Context(), "edge-gw", "2")
	refused(t, err, store.ErrNotFound, "release list")

	frame := firmware.EncodeChunk([]byte("plain"))
	refused(t, w.PutChunk(t.Context(), firmware.Sum([]byte("other")), bytes.NewReader(frame)), firmware.ErrCorrupt, "chunk")
	refused(t, w.PutChunk(t.Context(), firmware.Sum([]byte("x")), bytes.NewReader(make([]byte, firmware.MaxFrameSize+1))), firmware.ErrTooLarge, "over")
	refused(t, w.PutIndex(t.Context(), firmware.Sum([]byte("y")), strings.NewReader("y")), firmware.ErrMalformed, "index")
}

// A product whose key is elsewhere takes only what that key signed.
func TestReleaseSignedElsewhere(t *testing.T) {
	w := newWorld(t)
	key, err := keys.Generate(filepath.Join(t.TempDir(), "ci.pem"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.CreateProduct(t.Context(), "edge-gw", key.Public())
	if err != nil || p.Signing != release.SigningOffline {
		t.Fatalf("%+v %v", p, err)
	}
	_, err = w.CreateProduct(t.Context(), "edge-gw", nil)
	refused(t, err, release.ErrConflict, "another key")
	component := w.push(image(1<<20, 6))
	_, err = w.Create(t.Context(), release.Request{Product: "edge-gw", Version: "1", Hardware: []string{"a"}, Components: []firmware.Component{component}}, "t")
	refused(t, err, release.ErrConflict, "signed elsewhere")

	sign := func(version string, by keys.Signer, counter uint64) release.Request {
		role, _, err := w.Role(t.Context(), "edge-gw")
		if err != nil {
			t.Fatal(err)
		}
		m := &firmware.Manifest{
			Schema: 1, Product: "edge-gw", Version: version, Counter: counter, Hardware: []string{"a"},
			Components: []firmware.Component{component},
		}
		manifest, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		index, err := build.Payload(t.Context(), bytes.NewReader(image(1<<20, 6)), build.Options{Chunks: build.Store{Blob: w.blob, Prefix: "repo/"}})
		if err != nil {
			t.Fatal(err)
		}
		role, err = repository.SignRelease(role, "edge-gw", map[string][]byte{
			firmware.ManifestTarget("edge-gw", version):        manifest,
			firmware.IndexTarget("edge-gw", version, "rootfs"): index.Index.Encode(),
		}, by, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return release.Request{Product: "edge-gw", Version: version, Signed: &release.Signed{Manifest: manifest, Role: role}}
	}
	stranger, err := keys.Generate(filepath.Join(t.TempDir(), "stranger.pem"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Create(t.Context(), sign("1", stranger, 1), "t")
	refused(t, err, release.ErrInvalid, "not signed by the product's key")
	q := sign("1", key, 1)
	r, err := w.Create(t.Context(), q, "t")
	if err != nil || r.State != release.Published {
		t.Fatalf("%+v %v", r, err)
	}
	if again, err := w.Create(t.Context(), q, "t"); err != nil || !cmp.Equal(r, again) {
		t.Errorf("again: %v", err)
	}
	_, err = w.Create(t.Context(), sign("2", key, 1), "t")
	refused(t, err, release.ErrConflict, "counter")
	if r, err = w.Create(t.Context(), sign("2", key, 2), "t"); err != nil || r.Counter != 2 {
		t.Errorf("%+v %v", r, err)
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
