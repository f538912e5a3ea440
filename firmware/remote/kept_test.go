package remote_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

func tempFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "patches"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// keeper opens a remote that keeps what comes.
func (w *world) keeper(t *testing.T, o remote.Options, limit int64) (*remote.Remote, *remote.Kept) {
	t.Helper()
	o.Index, o.Keep = w.targetIndex, remote.NewKept(tempFile(t), limit)
	r, err := remote.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r, o.Keep
}

func (w *world) group(r *remote.Remote, n int) (batch []firmware.Chunk) {
	for _, c := range r.Groups()[n] {
		batch = append(batch, w.targetIndex.Chunks[c])
	}
	return batch
}

// of asks a keeper for the body of a group.
func of(k *remote.Kept, group int) func(context.Context, int64) ([]byte, error) {
	return func(context.Context, int64) ([]byte, error) { return k.Patch(group) }
}

// TestPatchesPassedOn lets one device fetch and others take from each other, without a byte over the line.
func TestPatchesPassedOn(t *testing.T) {
	w := newWorld(t)
	a, kept := w.keeper(t, w.options(), 1<<20)
	w.fetch(t, a, w.changed())
	if len(kept.Held()) != len(a.Groups()) {
		t.Fatalf("%v is kept of %d groups", kept.Held(), len(a.Groups()))
	}
	for range 2 {
		b, next := w.keeper(t, w.options(), 1<<20)
		line := w.line.Load()
		var d taken
		for _, n := range kept.Held() {
			if err := b.Patched(t.Context(), n, w.group(b, n), d.deliver, of(kept, n)); err != nil {
				t.Fatal(err)
			}
		}
		if len(d.ids) != len(w.changed()) || w.line.Load() != line {
			t.Errorf("%d of %d chunks, %d bytes over the line", len(d.ids), len(w.changed()), w.line.Load()-line)
		}
		kept = next // to take from in turn
	}
}

// TestWrongPatches holds that what yields nothing is said to be corrupt, and is not passed on.
func TestWrongPatches(t *testing.T) {
	w := newWorld(t)
	a, good := w.keeper(t, w.options(), 1<<20)
	w.fetch(t, a, w.changed())
	body, err := good.Patch(3)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(body)
	bad[len(bad)*3/4] ^= 1
	other, _ := good.Patch(4)
	failed := errors.New("it hung up")
	for name, c := range map[string]struct {
		group, most int
		body        []byte
		err, want   error
	}{
		"another group":       {3, 0, other, nil, firmware.ErrCorrupt},
		"nothing":             {3, 0, nil, nil, firmware.ErrCorrupt},
		"wrong in its end":    {3, perGroup - 1, bad, nil, firmware.ErrCorrupt},
		"no answer":           {3, 0, nil, failed, failed},
		"no such group":       {99, 0, body, nil, remote.ErrNoPack},
		"a group below these": {-1, 0, body, nil, remote.ErrNoPack},
	} {
		t.Run(name, func(t *testing.T) {
			b, kept := w.keeper(t, w.options(), 1<<20)
			var d taken
			err := b.Patched(t.Context(), c.group, w.group(b, 3), d.deliver, func(_ context.Context, size int64) ([]byte, error) {
				if size != sizeOf3(w) {
					t.Errorf("%d bytes are asked for", size)
				}
				return c.body, c.err
			})
			if !errors.Is(err, c.want) || len(d.ids) > c.most || len(kept.Held()) > 0 {
				t.Errorf("%v; %d chunks came, %v is kept", err, len(d.ids), kept.Held())
			}
			w.fetch(t, b, w.group(b, 3)) // its own groups are as good as before
		})
	}
	t.Run("a part that is well of a group that is not", func(t *testing.T) {
		b, kept := w.keeper(t, w.options(), 1<<20)
		var d taken
		err := b.Patched(t.Context(), 3, w.group(b, 3)[:1], d.deliver, func(context.Context, int64) ([]byte, error) { return bad, nil })
		if len(d.ids) != 1 || len(kept.Held()) > 0 {
			t.Errorf("%v; %d chunks came, %v is kept", err, len(d.ids), kept.Held())
		}
	})
	t.Run("a damaged base", func(t *testing.T) {
		o := w.options()
		o.Base.Payload = bytes.NewReader(make([]byte, len(w.base)))
		b, kept := w.keeper(t, o, 1<<20)
		var d taken
		if err := b.Patched(t.Context(), 3, w.group(b, 3), d.deliver, of(good, 3)); !errors.Is(err, firmware.ErrCorrupt) {
			t.Error(err)
		}
		w.fetch(t, b, w.changed())
		if len(kept.Held()) > 0 {
			t.Errorf("%v is kept", kept.Held())
		}
	})
	t.Run("a taker that fails", func(t *testing.T) {
		b, kept := w.keeper(t, w.options(), 1<<20)
		err := b.Patched(t.Context(), 3, w.group(b, 3), func([]byte, firmware.ChunkID) error { return failed }, of(good, 3))
		if !errors.Is(err, failed) || len(kept.Held()) > 0 {
			t.Errorf("%v; %v is kept", err, kept.Held())
		}
	})
}

// sizeOf3 is the size of the body of group 3.
func sizeOf3(w *world) int64 { return w.pack.Groups[3].Size }

// TestKeepsSoMuch holds what is kept to the limit and to what the file takes.
func TestKeepsSoMuch(t *testing.T) {
	w := newWorld(t)
	size := w.pack.Groups[0].Size
	a, kept := w.keeper(t, w.options(), 2*size+size/2)
	w.fetch(t, a, w.changed())
	if n := len(kept.Held()); n != 2 {
		t.Errorf("%d groups are kept in the place of two and a half", n)
	}
	for n := range a.Groups() {
		if _, err := kept.Patch(n); err != nil && !errors.Is(err, firmware.ErrNotFound) {
			t.Error(err)
		}
	}

	full := tempFile(t)
	_ = full.Close()
	o := w.options()
	o.Index, o.Keep = w.targetIndex, remote.NewKept(full, 1<<20)
	b, err := remote.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	w.fetch(t, b, w.changed())
	if len(o.Keep.Held()) > 0 {
		t.Error("it keeps what it could not write")
	}
}
