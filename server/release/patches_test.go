package release_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/server/release/packs"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
)

// census is a fleet that says what it runs.
type census struct {
	mu      sync.Mutex
	running []release.Running
}

func (c *census) set(running ...release.Running) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = running
}

func (c *census) ask(context.Context) ([]release.Running, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running, nil
}

func runs(version string, devices int) release.Running {
	return release.Running{Product: "edge-gw", Version: version, Hardware: "qemu-arm64", Devices: devices}
}

// next is an image in which a part of every 200 KB is new.
func next(img []byte, seed byte) []byte {
	img = bytes.Clone(img)
	for at := 0; at+1000 < len(img); at += 200_000 {
		for i := range 300 {
			img[at+i] = byte(i*i>>3) ^ seed
		}
	}
	return img
}

// publish publishes an image and returns the digest of its payload.
func (w *world) publishImage(version string, img []byte) firmware.Digest {
	w.Helper()
	if _, err := w.Create(w.Context(), request(version, w.upload(img)), "tester"); err != nil {
		w.Fatal(err)
	}
	if r := w.settled(version); r.State != release.Published {
		w.Fatalf("%s: %s", r.State, r.Error)
	}
	return firmware.Sum(img)
}

// patched waits until the patches of a release stand as the text says: "1.0.0 ready, 0.9.0 ready".
func (w *world) patched(version, want string) []release.Patches {
	w.Helper()
	var got string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		r, err := w.Get(w.Context(), "edge-gw", version)
		if err != nil {
			w.Fatal(err)
		}
		var stand []string
		for _, p := range r.Patches {
			stand = append(stand, p.Base+" "+string(p.State))
		}
		if got = strings.Join(stand, ", "); got == want {
			return r.Patches
		}
	}
	w.Fatalf("patches of %s are %q, want %q", version, got, want)
	return nil
}

// has reports whether a pack exists, and what it is.
func (w *world) has(base, target firmware.Digest) (packs.Info, bool) {
	w.Helper()
	info, err := packs.Look(w.Context(), build.Store{Blob: w.blob, Prefix: "repo/"}, base, target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.Fatal(err)
	}
	return info, err == nil
}

// Patches follow what is published, what the fleet runs and what is yanked.
func TestPatchesFollowTheFleet(t *testing.T) {
	var fleet census
	w := newWorld(t)
	w.Running, w.PatchEvery = fleet.ask, 50*time.Millisecond
	w.run()
	first := image(2<<20, 1)
	second, third := next(first, 1), next(next(first, 1), 2)
	one := w.publishImage("1", first)
	w.patched("1", "")

	// Nothing is known of the fleet: from the release before.
	two := w.publishImage("2", second)
	stand := w.patched("2", "1 ready")
	info, ok := w.has(one, two)
	p := stand[0]
	if !ok || p.Bytes != info.Bytes || p.Index != info.IndexBytes || p.Groups != info.Groups || p.Chunks != info.Chunks || p.Bytes == 0 {
		t.Errorf("told %+v, there is %+v", p, info)
	}
	rel, err := w.Get(t.Context(), "edge-gw", "2")
	if err != nil || p.Bytes*3 > rel.Size.NewChunks {
		t.Errorf("%d bytes of patches for %d of new chunks, %v", p.Bytes, rel.Size.NewChunks, err)
	}

	// Devices that run an older one are seen some time after.
	fleet.set(runs("1", 50), runs("2", 10))
	three := w.publishImage("3", third)
	w.patched("3", "1 ready, 2 ready")
	w.patched("2", "1 ready")

	// A base that was yanked stays as long as devices run it.
	if _, err := w.Yank(t.Context(), "edge-gw", "1"); err != nil {
		t.Fatal(err)
	}
	w.patched("3", "1 ready, 2 ready")
	fleet.set(runs("2", 60))
	w.patched("3", "2 ready")
	w.patched("2", "")
	if _, ok := w.has(one, two); ok {
		t.Error("the pack from a yanked release is still there")
	}
	if _, ok := w.has(one, three); ok {
		t.Error("the pack from a yanked release is still there")
	}
	if _, ok := w.has(two, three); !ok {
		t.Error("a pack that is needed is gone")
	}
}

// A server that dies while it makes a pack leaves nothing of it, and the next one makes it. Whatever the documents say.
func TestPatchesGoOnAfterAKill(t *testing.T) {
	s, folder := storetest.New(t), t.TempDir()
	w := openWorld(t, s, folder)
	first := image(6<<20, 3)
	var making atomic.Bool
	var reads atomic.Int32
	dead := make(chan struct{})
	w.Releases.Log = slogTo(func(msg string) { making.Store(msg == "making patches") })
	w.onRead = func(key string) {
		if making.Load() && strings.Contains(key, "/chunks/") && reads.Add(1) == 20 { // in the middle of the base
			w.cancel()
			close(dead)
		}
	}
	w.run()
	one := w.publishImage("1", first)
	two := w.publishImage("2", next(first, 1))
	<-dead
	w.stop()
	if _, ok := w.has(one, two); ok {
		t.Fatal("there is a pack of a dead server")
	}

	again := openWorld(t, s, folder)
	again.PatchWorkers = -1 // makes none: what the dead one said stays
	again.run()
	r, err := again.Get(t.Context(), "edge-gw", "2")
	if err != nil || len(r.Patches) == 0 || r.Patches[0].State == release.PatchesReady {
		t.Fatalf("%+v %v", r.Patches, err)
	}
	again.stop()

	last := openWorld(t, s, folder).run()
	last.patched("2", "1 ready")
	if _, ok := last.has(one, two); !ok {
		t.Error("there is no pack")
	}
}

// A pack that is there is not made again, and one that cannot be read is.
func TestPatchesThatAreThere(t *testing.T) {
	s, folder := storetest.New(t), t.TempDir()
	w := openWorld(t, s, folder).run()
	first := image(1<<20, 5)
	one, two := w.publishImage("1", first), w.publishImage("2", next(first, 1))
	w.patched("2", "1 ready")
	info, _ := w.has(one, two)
	w.stop()

	makings := 0
	count := slogTo(func(msg string) {
		if msg == "making patches" {
			makings++
		}
	})
	again := openWorld(t, s, folder)
	looks := make(chan struct{})
	again.Releases.Log, again.PatchEvery = count, 20*time.Millisecond
	again.Running = func(ctx context.Context) ([]release.Running, error) {
		select {
		case looks <- struct{}{}:
		case <-ctx.Done():
		}
		return nil, nil
	}
	again.run()
	for range 3 {
		<-looks
	}
	again.patched("2", "1 ready")
	again.stop()
	if makings != 0 {
		t.Errorf("made %d packs that were there", makings)
	}

	key := "repo/" + patch.Path(one, two)
	if err := w.blob.Put(t.Context(), key, strings.NewReader("broken"), 6); err != nil {
		t.Fatal(err)
	}
	// Whatever the document says, a server that begins looks.
	mend := openWorld(t, s, folder)
	mend.PatchEvery = 20 * time.Millisecond
	mended := make(chan struct{})
	mend.Releases.Log = slogTo(func(msg string) {
		if msg == "patches are ready" {
			close(mended)
		}
	})
	mend.run()
	<-mended
	if p := mend.patched("2", "1 ready"); p[0].Bytes != info.Bytes {
		t.Errorf("%+v after %+v", p, info)
	}
	if again, ok := mend.has(one, two); !ok || again != info {
		t.Errorf("%+v after %+v", again, info)
	}
}

// What cannot be made is told with its reason, and tried again when something is published.
func TestPatchesFail(t *testing.T) {
	w := newWorld(t)
	w.PatchEvery = 20 * time.Millisecond
	w.run()
	first := image(1<<20, 6)
	w.publishImage("1", first)
	r, err := w.Get(t.Context(), "edge-gw", "1")
	if err != nil {
		t.Fatal(err)
	}
	// A chunk of the base is lost.
	index := r.Manifest.Components[0]
	b, err := build.Read(t.Context(), w.blob, "repo/"+firmware.TargetPath(firmware.IndexTarget("edge-gw", "1", "rootfs"), index.Index.SHA256), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	x, err := firmware.ParseIndex(b)
	if err != nil {
		t.Fatal(err)
	}
	lost := "repo/chunks/" + firmware.ChunkPath(x.Chunks[0].ID)
	frame, err := build.Read(t.Context(), w.blob, lost, firmware.MaxFrameSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.blob.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	changed := next(first, 1) // all of its chunks at 0 are new
	w.publishImage("2", changed)
	if p := w.patched("2", "1 failed"); !strings.Contains(p[0].Error, "missing from the repository") {
		t.Errorf("%+v", p)
	}
	if err := w.blob.Put(t.Context(), lost, bytes.NewReader(frame), int64(len(frame))); err != nil {
		t.Fatal(err)
	}
	w.publishImage("3", next(changed, 2))
	w.patched("3", "2 ready")
}

// The document of a release keeps its form.
func TestPatchesAsJSON(t *testing.T) {
	b, err := json.Marshal(release.Patches{Base: "1", State: release.PatchesReady, Bytes: 9, Index: 2, Groups: 1, Chunks: 4})
	want := `{"base":"1","state":"ready","progress":{"done":0,"total":0},"bytes":9,"index_bytes":2,"groups":1,"chunks":4}`
	if err != nil || string(b) != want {
		t.Errorf("%s %v", b, err)
	}
}
