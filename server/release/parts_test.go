package release_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

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
	if r.State != release.Published || r.Size.Payload != 1<<20 || r.Size.Stored == 0 || r.Size.Distinct == 0 || r.Size.Distinct > r.Size.Payload || r.Size.NewChunks != r.Size.Stored {
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
	theirs := key.Public()
	p, err := w.CreateProduct(t.Context(), "edge-gw", &theirs)
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
