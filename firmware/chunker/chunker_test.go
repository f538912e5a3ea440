package chunker_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/chunker"
)

func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(b)
	return b
}

func cut(t testing.TB, r io.Reader) [][]byte {
	t.Helper()
	var chunks [][]byte
	if err := chunker.Split(r, chunker.Default(), func(p []byte) error {
		chunks = append(chunks, bytes.Clone(p))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return chunks
}

func TestSplitKeepsBytesAndBounds(t *testing.T) {
	d := chunker.Default()
	for _, n := range []int{1, 100, 16 << 10, 64 << 10, 256<<10 + 1, 3 << 20} {
		payload := noise(n, 1)
		chunks := cut(t, iotest.HalfReader(bytes.NewReader(payload)))
		if !bytes.Equal(bytes.Join(chunks, nil), payload) {
			t.Fatalf("%d bytes: the chunks do not add up to the payload", n)
		}
		for i, c := range chunks {
			if len(c) > int(d.Max) || (len(c) < int(d.Min) && i < len(chunks)-1) {
				t.Fatalf("%d bytes: chunk %d has %d bytes", n, i, len(c))
			}
		}
	}
}

// TestBoundariesAreFrozen fails when an update of the library moves a boundary: that would end sharing with every release
// that exists.
func TestBoundariesAreFrozen(t *testing.T) {
	h := sha256.New()
	for _, c := range cut(t, bytes.NewReader(noise(4<<20, 7))) {
		sum := sha256.Sum256(c)
		h.Write(sum[:])
	}
	const want = "b33ebf3c01e6811c3278cbe0c2759fb8a83f675a5c9a99694f1c8848755b3760"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Fatalf("boundaries moved: %s", got)
	}
}

// texts are payloads with what images are made of: noise, runs of zeros of every length, and patterns that never cut.
func texts() map[string][]byte {
	zeros := func(n int) []byte { return make([]byte, n) }
	m := map[string][]byte{
		"noise": noise(3<<20+17, 5), "zeros": zeros(1<<20 + 5), "exactly zeros": zeros(512 << 10), "few zeros": zeros(100 << 10),
		"ones": bytes.Repeat([]byte{1}, 1<<20),
	}
	r := rand.New(rand.NewPCG(1, 2))
	var mix []byte
	for range 40 {
		mix = append(mix, noise(r.IntN(200<<10), byteOf(r))...)
		mix = append(mix, zeros(r.IntN(700<<10))...)
	}
	m["mix"] = mix
	m["zeros first"] = append(zeros(600<<10), noise(70<<10, 6)...)
	m["zeros last"] = append(noise(70<<10, 6), zeros(600<<10)...)
	return m
}

func byteOf(r *rand.Rand) uint64 { return r.Uint64() & 255 }

// TestBoundariesAreTheLibrarys compares with go-cdc-chunkers, which releases were cut with at first.
func TestBoundariesAreTheLibrarys(t *testing.T) {
	for _, sizes := range []firmware.Chunking{chunker.Default(), {Min: 1 << 10, Avg: 4 << 10, Max: 16 << 10}, {Min: 64, Avg: 128, Max: 129}} {
		for name, payload := range texts() {
			if sizes.Max < 1000 {
				payload = payload[:min(len(payload), 50_000)]
			}
			oracle, err := chunkers.NewChunker("fastcdc-v1.0.0", bytes.NewReader(payload),
				&chunkers.ChunkerOpts{MinSize: int(sizes.Min), NormalSize: int(sizes.Avg), MaxSize: int(sizes.Max)})
			if err != nil {
				t.Fatal(err)
			}
			var want, got []int
			if err := oracle.Split(func(_, n uint, _ []byte) error {
				if n > 0 {
					want = append(want, int(n))
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if err := chunker.Split(bytes.NewReader(payload), sizes, func(p []byte) error {
				got = append(got, len(p))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s at %+v: %s", name, sizes, d)
			}
		}
	}
}

// TestHolesAreZeros cuts sparse files, also from a place in their middle, and sees what reading them would give.
func TestHolesAreZeros(t *testing.T) {
	for name, payload := range texts() {
		f, err := os.Create(filepath.Join(t.TempDir(), "sparse"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for at := 0; at < len(payload); at += 4 << 10 {
			page := payload[at:min(at+4<<10, len(payload))]
			if !bytes.Equal(page, make([]byte, len(page))) {
				if _, err := f.WriteAt(page, int64(at)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := f.Truncate(int64(len(payload))); err != nil {
			t.Fatal(err)
		}
		for _, from := range []int{0, 1, 4096, 300<<10 + 7} {
			if from >= len(payload) {
				continue
			}
			if _, err := f.Seek(int64(from), io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(cut(t, bytes.NewReader(payload[from:])), cut(t, f), bytes.Equal) {
				t.Errorf("%s from %d differs", name, from)
			}
		}
	}
}

// A file of nothing but a hole is cut without being read: a reader that took its time over it would not end.
func TestHugeHoleCostsNothing(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "hole"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 40 << 30
	if err := f.Truncate(size + 5); err != nil {
		t.Fatal(err)
	}
	var total int64
	if err := chunker.Split(f, chunker.Default(), func(p []byte) error { total += int64(len(p)); return nil }); err != nil {
		t.Fatal(err)
	}
	if total != size+5 {
		t.Fatalf("%d bytes", total)
	}
}

func TestInsertionMovesFewBoundaries(t *testing.T) {
	payload := noise(8<<20, 2)
	changed := append(append(bytes.Clone(payload[:3<<20]), []byte("one more line in a file")...), payload[3<<20:]...)
	have := map[firmware.ChunkID]bool{}
	for _, c := range cut(t, bytes.NewReader(payload)) {
		have[firmware.Sum(c)] = true
	}
	missing := 0
	for _, c := range cut(t, bytes.NewReader(changed)) {
		if !have[firmware.Sum(c)] {
			missing++
		}
	}
	if missing == 0 || missing > 3 {
		t.Fatalf("%d new chunks after one insertion", missing)
	}
}

func TestSplitRefuses(t *testing.T) {
	never := func([]byte) error { return nil }
	if err := chunker.Split(bytes.NewReader(nil), chunker.Default(), never); !errors.Is(err, firmware.ErrMalformed) {
		t.Errorf("empty: %v", err)
	}
	short := io.MultiReader(bytes.NewReader(noise(100<<10, 8)), iotest.ErrReader(io.ErrUnexpectedEOF))
	if err := chunker.Split(short, chunker.Default(), never); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a reader that was cut short: %v", err)
	}
	for _, sizes := range []firmware.Chunking{{}, {Min: 1, Avg: 64, Max: 128}, {Min: 64, Avg: 100, Max: 128}, {Min: 64, Avg: 128, Max: 128}} {
		if err := chunker.Split(bytes.NewReader(noise(1, 1)), sizes, never); !errors.Is(err, firmware.ErrMalformed) {
			t.Errorf("sizes %+v: %v", sizes, err)
		}
	}
	broken := errors.New("cable pulled")
	if err := chunker.Split(iotest.ErrReader(broken), chunker.Default(), never); !errors.Is(err, broken) {
		t.Errorf("broken reader: %v", err)
	}
	if err := chunker.Split(bytes.NewReader(noise(1<<20, 3)), chunker.Default(), func([]byte) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("failing callback: %v", err)
	}
	if err := chunker.Split(bytes.NewReader(nil), firmware.Chunking{Min: 1, Avg: 2, Max: 1 << 30}, never); !errors.Is(err, firmware.ErrTooLarge) {
		t.Errorf("giant chunks: %v", err)
	}
}

func BenchmarkSplit(b *testing.B) {
	for name, payload := range map[string][]byte{"noise": noise(64<<20, 4), "zeros": make([]byte, 64<<20)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				_ = chunker.Split(bytes.NewReader(payload), chunker.Default(), func([]byte) error { return nil })
			}
		})
	}
}
