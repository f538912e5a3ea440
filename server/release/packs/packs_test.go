package packs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/server/release/packs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) build.Store {
	t.Helper()
	b, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return build.Store{Blob: b, Prefix: "repo/"}
}

// images returns a payload and the next one, in which a part of every 200 KB is new.
func images(size int) (old, next []byte) {
	r := rand.New(rand.NewPCG(uint64(size), 1))
	old = make([]byte, size)
	for i := range old {
		old[i] = "abcdefgh"[r.IntN(8)]
	}
	next = bytes.Clone(old)
	for at := 0; at+1000 < size; at += 200_000 {
		for i := range 300 {
			next[at+i] = byte(r.Uint32())
		}
	}
	return old, append(next[:size/2:size/2], append([]byte("an insertion"), next[size/2:]...)...)
}

func cut(t *testing.T, s build.Store, img []byte) packs.Side {
	t.Helper()
	r, err := build.Payload(t.Context(), bytes.NewReader(img), build.Options{Chunks: s})
	if err != nil {
		t.Fatal(err)
	}
	return packs.Side{SHA256: r.SHA256, Index: r.Index}
}

// files reads the store as a device reads the repository.
type files struct{ build.Store }

func (f files) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	return build.Read(ctx, f.Blob, f.Prefix+path, limit)
}

func (f files) Range(ctx context.Context, path string, offset, n int64) ([]byte, error) {
	b, err := f.Fetch(ctx, path, 1<<30)
	size := int64(len(b))
	return b[min(offset, size):min(offset+n, size)], err
}

// What is built is what a device needs, and is there in whole.
func TestBuild(t *testing.T) {
	s := open(t)
	old, next := images(4 << 20)
	base, target := cut(t, s, old), cut(t, s, next)
	if _, err := packs.Look(t.Context(), s, base.SHA256, target.SHA256); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before it is built: %v", err)
	}
	var told, pauses atomic.Int64
	info, err := packs.Build(t.Context(), packs.Options{
		Base: base, Target: target, Store: s, Workers: 1,
		Progress: func(done, total int64) {
			if done > total {
				t.Errorf("%d of %d", done, total)
			}
			told.Store(done)
		},
		Pause: func(context.Context) error { pauses.Add(1); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if told.Load() == 0 || pauses.Load() == 0 {
		t.Errorf("progress %d, pauses %d", told.Load(), pauses.Load())
	}
	seen, err := packs.Look(t.Context(), s, base.SHA256, target.SHA256)
	if err != nil || seen != info || info.Groups == 0 || info.Chunks == 0 || info.IndexBytes == 0 {
		t.Fatalf("built %+v, looks like %+v: %v", info, seen, err)
	}

	r, err := remote.Open(t.Context(), remote.Options{
		Files: files{s}, Target: target.SHA256, Index: target.Index,
		Base: &remote.Base{SHA256: base.SHA256, Index: base.Index, Payload: bytes.NewReader(old)},
	})
	if err != nil {
		t.Fatal(err)
	}
	seed := firmware.NewSeed(base.Index, bytes.NewReader(old))
	missing := firmware.MakePlan(target.Index, seed.Has).Missing
	var mu sync.Mutex
	got := map[firmware.ChunkID]bool{}
	n, err := r.Fetch(t.Context(), missing, func(plain []byte, id firmware.ChunkID) error {
		mu.Lock()
		defer mu.Unlock()
		if firmware.Sum(plain) != id {
			return firmware.ErrCorrupt
		}
		got[id] = true
		return nil
	})
	if err != nil || len(got) != len(missing) || r.Traffic().Chunk != 0 {
		t.Fatalf("%d of %d chunks, %+v: %v", len(got), len(missing), r.Traffic(), err)
	}
	var frames int64
	for _, c := range missing {
		size, err := s.Size(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		frames += size
	}
	t.Logf("%d bytes of patches for %d of chunks", n, frames)
	if n*5 > frames {
		t.Errorf("%d bytes of patches for %d of chunks", n, frames)
	}
}

func TestBuildFails(t *testing.T) {
	s := open(t)
	old, next := images(1 << 20)
	base, target := cut(t, s, old), cut(t, s, next)
	gone := errors.New("the machine has better things to do")
	o := packs.Options{Base: base, Target: target, Store: s, Pause: func(context.Context) error { return gone }}
	if _, err := packs.Build(t.Context(), o); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	o.Pause = nil
	o.Base.Bytes = readerAt{iotest.ErrReader(io.ErrUnexpectedEOF)}
	if _, err := packs.Build(t.Context(), o); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.Base.Bytes = nil
	if _, err := packs.Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	o.Target.Index = firmware.NewIndex(base.Index.Chunking, []firmware.Chunk{{ID: firmware.Sum([]byte("x")), Size: 1}})
	if _, err := packs.Build(t.Context(), o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := s.Blob.List(t.Context(), "repo/patches/", func(key string, _ int64) error {
		t.Errorf("%s was left", key)
		return nil
	}); err != nil {
		t.Error(err)
	}
}

type readerAt struct{ io.Reader }

func (r readerAt) ReadAt(b []byte, _ int64) (int, error) { return r.Read(b) }

func TestLookRefuses(t *testing.T) {
	s := open(t)
	a, b := firmware.Sum([]byte("a")), firmware.Sum([]byte("b"))
	for name, content := range map[string]string{"empty": "", "another file": "<html>", "cut": "WAXPACK\x01"} {
		if err := s.Blob.Put(t.Context(), packs.Key(s, a, b), strings.NewReader(content), int64(len(content))); err != nil {
			t.Fatal(err)
		}
		if _, err := packs.Look(t.Context(), s, a, b); !errors.Is(err, firmware.ErrCorrupt) && !errors.Is(err, firmware.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A payload reads like the image, whoever reads where, and in little memory.
func TestPayload(t *testing.T) {
	s := open(t)
	img, _ := images(3 << 20)
	img = append(img, make([]byte, 1<<20)...) // zeros repeat
	side := cut(t, s, img)
	var loads atomic.Int64
	p := packs.NewPayload(side.Index, 1<<20, func(id firmware.ChunkID) ([]byte, error) {
		loads.Add(1)
		return s.Frame(t.Context(), id)
	})
	if err := iotest.TestReader(io.NewSectionReader(p, 0, int64(len(img))), img); err != nil {
		t.Fatal(err)
	}
	g := new(errgroup.Group)
	for worker := range 4 {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(7, uint64(worker)))
			buf := make([]byte, 100_000)
			for range 200 {
				at := r.IntN(len(img))
				n, err := p.ReadAt(buf[:r.IntN(len(buf))], int64(at))
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				if !bytes.Equal(buf[:n], img[at:at+n]) {
					return firmware.ErrCorrupt
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	before := loads.Load()
	if _, err := p.ReadAt(make([]byte, 10), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ReadAt(make([]byte, 10), 7); err != nil || loads.Load() > before+1 {
		t.Errorf("a chunk was loaded twice: %v", err)
	}
	if _, err := p.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("read before the beginning")
	}
	if n, err := p.ReadAt(make([]byte, 10), int64(len(img))-3); n != 3 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end %d, %v", n, err)
	}
}

// A chunk that could not be read is tried again.
func TestPayloadTriesAgain(t *testing.T) {
	s := open(t)
	img, _ := images(100_000)
	fail := errors.New("not now")
	p := packs.NewPayload(cut(t, s, img).Index, 1<<20, func(id firmware.ChunkID) ([]byte, error) {
		if fail != nil {
			return nil, fail
		}
		return s.Frame(t.Context(), id)
	})
	if _, err := p.ReadAt(make([]byte, 10), 0); !errors.Is(err, fail) {
		t.Errorf("%v", err)
	}
	fail = nil
	if _, err := p.ReadAt(make([]byte, 10), 0); err != nil {
		t.Error(err)
	}
}
