package build_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
	"github.com/waxwing-ota/waxwing/server/release/build"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB) build.Store {
	t.Helper()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return build.Store{Blob: s, Prefix: "repo/"}
}

// image is text-like bytes that compress, with a part that repeats.
func image(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for i := range b {
		b[i] = "abcdefgh"[r.IntN(8)]
	}
	copy(b[size/2:], b[:size/4])
	return b
}

func join(t *testing.T, s build.Store, x *firmware.Index) []byte {
	t.Helper()
	var whole []byte
	for _, c := range x.Chunks {
		frame, err := s.Frame(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := firmware.DecodeChunk(frame, c.ID, int(c.Size))
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, plain...)
	}
	return whole
}

func TestPayload(t *testing.T) {
	for _, size := range []int{1, 511, 64 << 10, 5<<20 + 3} {
		s, img := open(t), image(size, uint64(size))
		var stored atomic.Int64
		r, err := build.Payload(t.Context(), bytes.NewReader(img), build.Options{Chunks: s, Progress: func(int64) { stored.Add(1) }})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(join(t, s, r.Index), img) {
			t.Errorf("%d bytes: the chunks join to something else", size)
		}
		if r.SHA256 != sha256.Sum256(img) || r.Size != int64(size) || r.New != r.Stored || r.New == 0 || stored.Load() != int64(len(r.Index.Chunks)) {
			t.Errorf("%d bytes: result %+v", size, r)
		}
		again, err := build.Payload(t.Context(), bytes.NewReader(img), build.Options{Chunks: s})
		if err != nil {
			t.Fatal(err)
		}
		if again.New != 0 || again.Stored != r.Stored || again.Chunks != r.Chunks || again.SHA256 != r.SHA256 {
			t.Errorf("%d bytes: the second build says %+v, the first %+v", size, again, r)
		}
	}
}

// Zeros are stored once, and the digest is of all of them; it makes no difference whether they lie in a hole.
func TestZerosCostNothing(t *testing.T) {
	const zeros = 64 << 20
	img := append(image(300<<10, 5), make([]byte, zeros)...)
	img = append(img, image(200<<10, 6)...)
	sparse, err := os.Create(filepath.Join(t.TempDir(), "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	for at := range 2 {
		part, off := img[:300<<10], int64(0)
		if at == 1 {
			part, off = img[300<<10+zeros:], 300<<10+zeros
		}
		if _, err := sparse.WriteAt(part, off); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t)
	counted := &counting{Chunks: s}
	for name, r := range map[string]io.Reader{"dense": bytes.NewReader(img), "sparse": sparse} {
		var done atomic.Int64
		got, err := build.Payload(t.Context(), r, build.Options{Chunks: counted, Progress: func(n int64) { done.Store(max(done.Load(), n)) }})
		if err != nil {
			t.Fatal(err)
		}
		if got.SHA256 != sha256.Sum256(img) || got.Size != int64(len(img)) || !bytes.Equal(join(t, s, got.Index), img) {
			t.Errorf("%s: %d bytes, another payload", name, got.Size)
		}
		if done.Load() != got.Size {
			t.Errorf("%s: progress ends at %d of %d", name, done.Load(), got.Size)
		}
		if n := counted.asked.Swap(0); n > 20 || int(n) != got.Chunks {
			t.Errorf("%s: the store was asked %d times for %d chunks", name, n, got.Chunks)
		}
	}
}

// counting is a store without batches that counts.
type counting struct {
	build.Chunks
	asked atomic.Int64
}

func (c *counting) Size(ctx context.Context, id firmware.ChunkID) (int64, error) {
	c.asked.Add(1)
	return c.Chunks.Size(ctx, id)
}

// A store that fails, at a put or at a commit, fails the build with its own words and leaves no goroutine.
func TestBrokenStore(t *testing.T) {
	broken := errors.New("the medium is full")
	for _, s := range []failing{{open(t), broken, nil}, {open(t), nil, broken}} {
		if _, err := build.Payload(t.Context(), bytes.NewReader(image(4<<20, 4)), build.Options{Chunks: s}); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	}
}

type failing struct {
	build.Store
	put, commit error
}

func (f failing) Batch() build.Batch { return failingBatch{f.Store.Batch(), f} }

type failingBatch struct {
	build.Batch
	f failing
}

func (b failingBatch) Put(ctx context.Context, id firmware.ChunkID, frame []byte) error {
	return errors.Join(b.f.put, b.Batch.Put(ctx, id, frame))
}

func (b failingBatch) Commit(ctx context.Context) error {
	return errors.Join(b.f.commit, b.Batch.Commit(ctx))
}

func TestSmallChangeIsFewNewBytes(t *testing.T) {
	s, img := open(t), image(8<<20, 7)
	first, err := build.Payload(t.Context(), bytes.NewReader(img), build.Options{Chunks: s})
	if err != nil {
		t.Fatal(err)
	}
	changed := append(append(bytes.Clone(img[:1<<20]), "an insertion"...), img[1<<20:]...)
	second, err := build.Payload(t.Context(), bytes.NewReader(changed), build.Options{Chunks: s})
	if err != nil {
		t.Fatal(err)
	}
	if second.New*10 > first.New {
		t.Errorf("an insertion of 12 bytes costs %d new bytes of %d", second.New, first.New)
	}
}

func TestPayloadRefuses(t *testing.T) {
	if _, err := build.Payload(t.Context(), bytes.NewReader(nil), build.Options{Chunks: open(t)}); !errors.Is(err, build.ErrEmpty) {
		t.Errorf("empty image: %v", err)
	}
	broken := io.MultiReader(bytes.NewReader(image(1<<20, 3)), iotest.ErrReader(os.ErrClosed))
	if _, err := build.Payload(t.Context(), broken, build.Options{Chunks: open(t)}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("broken image: %v", err)
	}
}

// What a build holds in memory does not grow with the image.
func TestMemoryIsBounded(t *testing.T) {
	s := open(t)
	var mu sync.Mutex
	var peak uint64
	calls := 0
	watch := func(int64) {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%64 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
		}
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	one := image(1<<20, 9)
	readers := make([]io.Reader, 64) // 64 MiB that costs one
	for i := range readers {
		readers[i] = bytes.NewReader(one)
	}
	_, err := build.Payload(t.Context(), io.MultiReader(readers...), build.Options{Chunks: s, Progress: watch})
	if err != nil {
		t.Fatal(err)
	}
	if grown := int64(peak) - int64(before.HeapInuse); grown > 48<<20 {
		t.Errorf("building 64 MiB took %d MiB of heap", grown>>20)
	}
}

func BenchmarkPayload(b *testing.B) {
	img := image(32<<20, 11)
	b.SetBytes(int64(len(img)))
	for b.Loop() {
		if _, err := build.Payload(b.Context(), bytes.NewReader(img), build.Options{Chunks: open(b)}); err != nil {
			b.Fatal(err)
		}
	}
}
