package bench

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// noise is data that cannot be compressed.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func TestCountBlocks(t *testing.T) {
	n := noise(40 * blockSize)
	block := func(i int) []byte { return n[i*blockSize : (i+1)*blockSize] }
	for _, c := range []struct {
		name     string
		old, new []byte
		blocks   int
	}{
		{"nothing", nil, nil, 0},
		{"the same", n, n, 0},
		{"all new", nil, n, 40},
		{"moved by whole blocks", n, n[3*blockSize:], 0},
		{"moved by a byte", n, n[1:], 40},
		{"two new", n[:38*blockSize], n, 2},
		{"new twice counts once", nil, slices.Concat(block(1), block(2), block(1)), 2},
		{"a short end", n, append(slices.Clone(n), 1, 2, 3), 1},
	} {
		got, err := countBlocks(bytes.NewReader(c.old), bytes.NewReader(c.new))
		if err != nil {
			t.Fatal(err)
		}
		if got.New != c.blocks {
			t.Errorf("%s: %d new blocks, want %d", c.name, got.New, c.blocks)
		}
		// Noise stays as long as it is, but for a few bytes of each frame.
		if floor, ceiling := int64(max(0, c.blocks-1)*blockSize), int64(c.blocks*(blockSize+32)); got.Bytes < floor || got.Bytes > ceiling {
			t.Errorf("%s: %d bytes, want %d to %d", c.name, got.Bytes, floor, ceiling)
		}
	}
}

// TestCountBlocksInGroups holds that neighbours are compressed together: alike blocks cost next to nothing.
func TestCountBlocksInGroups(t *testing.T) {
	var image []byte
	for i := range groupSize {
		b := noise(blockSize)
		b[0] = byte(i)
		image = append(image, b...)
	}
	got, err := countBlocks(bytes.NewReader(nil), bytes.NewReader(image))
	if err != nil || got.New < groupSize-1 || got.Bytes > blockSize+blockSize/4 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCopyAndSame(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	content := slices.Concat(noise(100_000), make([]byte, 3<<20), noise(10), make([]byte, 200_000))
	if err := os.WriteFile(from, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := copyAndHash(from, to); err != nil {
		t.Fatal(err)
	}
	check := func(want bool) {
		t.Helper()
		if got, err := same(from, to); err != nil || got != want {
			t.Errorf("same: %v, %v", got, err)
		}
	}
	check(true)
	for _, at := range []int64{0, 1 << 20, int64(len(content)) - 1} {
		f, err := os.OpenFile(to, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{content[at] ^ 1}, at); err != nil {
			t.Fatal(err)
		}
		check(false)
		if _, err := f.WriteAt([]byte{content[at]}, at); err != nil {
			t.Fatal(err)
		}
		f.Close()
		check(true)
	}
	if err := os.Truncate(to, int64(len(content))-1); err != nil {
		t.Fatal(err)
	}
	check(false)
}
