package firmware_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/waxwing-ota/waxwing/firmware"
)

// allocated returns how many bytes a call allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// frame writes a zstd frame by hand (RFC 8878): a window of 2^windowLog bytes, the content size that it claims, or none when
// zero, and blocks that say "n zeros".
func frame(windowLog int, claims uint64, blocks, n int) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte(windowLog-10) << 3}
	if claims > 0 {
		b[4] = 3 << 6 // eight bytes of content size
		b = binary.LittleEndian.AppendUint64(b, claims)
	}
	for i := range blocks {
		last := 0
		if i == blocks-1 {
			last = 1
		}
		head := uint32(n)<<3 | 1<<1 | uint32(last)
		b = append(b, byte(head), byte(head>>8), byte(head>>16), 0)
	}
	return b
}

// TestFramesThatClaimMuch holds that nothing is allocated for a claim: a chunk's memory is the chunk.
func TestFramesThatClaimMuch(t *testing.T) {
	const block = 128 << 10
	zeros := make([]byte, block)
	id := firmware.Sum(zeros)
	for _, good := range [][]byte{frame(17, 0, 1, block), frame(21, 0, 1, block), frame(23, block, 1, block)} {
		if _, err := firmware.DecodeChunk(good, id, block); err != nil {
			t.Fatal("a frame written by hand is not right:", err)
		}
	}
	for name, c := range map[string]struct {
		frame []byte
		size  int
		want  error
	}{
		"a kilobyte that claims 10 GB":            {frame(20, 10<<30, 250, block), block, firmware.ErrTooLarge},
		"a kilobyte that claims 2^62":             {frame(20, 1<<62, 250, block), 0, firmware.ErrTooLarge},
		"a kilobyte that is 32 MB":                {frame(20, 0, 250, block), 0, firmware.ErrTooLarge},
		"a kilobyte that is 32 MB, of known size": {frame(20, 0, 250, block), block, firmware.ErrTooLarge},
		"a megabyte that is 10 GB":                {frame(20, 0, 80_000, block), block, firmware.ErrTooLarge},
		"claims little, is much":                  {frame(20, block, 250, block), block, firmware.ErrTooLarge},
		"a window of 2 GB":                        {frame(31, 0, 1, block), block, firmware.ErrTooLarge},
		"a window of 2 GB, of unknown size":       {frame(31, 0, 1, block), 0, firmware.ErrTooLarge},
		"a window of 16 MB":                       {frame(24, 0, 1, block), block, firmware.ErrTooLarge},
		"another size than the index says":        {frame(20, block, 1, block), block - 1, firmware.ErrCorrupt},
		"less than it claims":                     {frame(20, block, 1, block-1), block, firmware.ErrCorrupt},
		"less than the index says":                {frame(20, 0, 1, block-1), block, firmware.ErrCorrupt},
		"more than the index says":                {frame(20, 0, 1, block), block - 1, firmware.ErrTooLarge},
		"two frames":                              {append(frame(20, 0, 1, block), frame(20, 0, 1, block)...), block, firmware.ErrTooLarge},
		"bytes after the frame":                   {append(frame(20, 0, 1, block), 0), block, firmware.ErrCorrupt},
		"a frame to be skipped":                   {append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0}, frame(20, 0, 1, block)...), block, firmware.ErrCorrupt},
		"nothing":                                 {nil, block, firmware.ErrCorrupt},
		"xz":                                      {[]byte("\xfd7zXZ\x00\x00\x00"), block, firmware.ErrCorrupt},
	} {
		limit := uint64(512 << 10)
		if c.size == 0 {
			limit = 3 << 20 // room for the largest chunk there is
		}
		var err error
		if n := allocated(func() { _, err = firmware.DecodeChunk(c.frame, id, c.size) }); n > limit {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestFramesThatAreCut(t *testing.T) {
	plain := bytes.Repeat([]byte("waxwing "), 500)
	id, whole := firmware.Sum(plain), firmware.EncodeChunk(plain)
	for n := range whole {
		var err error
		if a := allocated(func() { _, err = firmware.DecodeChunk(whole[:n], id, len(plain)) }); a > 1<<20 {
			t.Errorf("%d of %d bytes: %d bytes were allocated", n, len(whole), a)
		}
		if !errors.Is(err, firmware.ErrCorrupt) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

// TestIndexesThatClaimMuch cuts an index at each byte and puts each of many words in each place. What is accepted is what
// it says; what is not is refused with an error of ours, and neither takes memory beyond its own size.
func TestIndexesThatClaimMuch(t *testing.T) {
	good := sampleIndex().Encode()
	limit := uint64(64 << 10)
	try := func(what string, b []byte) {
		t.Helper()
		var x *firmware.Index
		var err error
		if n := allocated(func() { x, err = firmware.ParseCasyncIndex(b) }); n > limit {
			t.Errorf("%s: %d bytes were allocated", what, n)
		}
		if err != nil && !errors.Is(err, firmware.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil {
			return
		}
		var end int64
		for i, c := range x.Chunks {
			span := x.Span(i)
			if c.Size == 0 || uint64(c.Size) > x.Chunking.Max || span.Offset != end || span.Size != int(c.Size) {
				t.Fatalf("%s: accepted, but chunk %d is %+v after %d", what, i, c, end)
			}
			end += int64(c.Size)
		}
		if end != x.Size() || end > firmware.MaxPayloadSize {
			t.Fatalf("%s: accepted with %d bytes", what, x.Size())
		}
	}
	for n := range good {
		try("cut", good[:n])
	}
	for at := 0; at+8 <= len(good); at += 8 {
		for _, v := range []uint64{0, 1, 256, 257, 258, 1 << 20, 1 << 32, 1 << 62, 1 << 63, 1<<64 - 1} {
			b := bytes.Clone(good)
			binary.LittleEndian.PutUint64(b[at:], v)
			try("a word changed", b)
		}
	}
}

func TestBothHashes(t *testing.T) {
	x := sampleIndex()
	x.Hash = firmware.HashSHA512
	b := x.Encode()
	if _, err := firmware.ParseIndex(b); !errors.Is(err, firmware.ErrMalformed) {
		t.Errorf("a release with SHA-512/256 ids: %v", err)
	}
	got, err := firmware.ParseCasyncIndex(b)
	if err != nil || got.Hash != firmware.HashSHA512 || !bytes.Equal(got.Encode(), b) {
		t.Errorf("%+v, %v", got, err)
	}
	plain := []byte("waxwing")
	frame, id := firmware.EncodeChunk(plain), firmware.HashSHA512.Sum(plain)
	if id == firmware.Sum(plain) {
		t.Fatal("both hashes are one")
	}
	if got, err := firmware.HashSHA512.DecodeChunk(frame, id, len(plain)); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := firmware.DecodeChunk(frame, id, len(plain)); !errors.Is(err, firmware.ErrCorrupt) {
		t.Errorf("with the other hash: %v", err)
	}
}

func BenchmarkDecodeChunk(b *testing.B) {
	plain := bytes.Repeat([]byte("a line of some file system image, "), 2000)
	frame, id := firmware.EncodeChunk(plain), firmware.Sum(plain)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		if _, err := firmware.DecodeChunk(frame, id, len(plain)); err != nil {
			b.Fatal(err)
		}
	}
}
