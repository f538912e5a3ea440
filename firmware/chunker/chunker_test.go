package chunker_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

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
	payload := noise(64<<20, 4)
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		_ = chunker.Split(bytes.NewReader(payload), chunker.Default(), func([]byte) error { return nil })
	}
}
