package patch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch"
)

// packed returns a pack that carries nothing but an index difference.
func packed(t testing.TB, difference []byte) *patch.Pack {
	t.Helper()
	directory := frame(t, []byte{0})
	b := front(directory, 0)
	binary.LittleEndian.PutUint32(b[76:], uint32(len(difference)))
	binary.LittleEndian.PutUint64(b[80:], uint64(len(b)+len(difference)))
	p, _, err := patch.ParseHead(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func restore(t testing.TB, difference []byte, base *firmware.Index, size int) ([]byte, error) {
	t.Helper()
	return packed(t, difference).Index(difference, base, int64(size))
}

func TestDifference(t *testing.T) {
	x := image(500, 11)
	moved := firmware.NewIndex(x.Chunking, append(append([]firmware.Chunk{}, x.Chunks[300:]...), x.Chunks[:300]...))
	y, _ := upgrade(moved, 30, 12)
	twice := firmware.NewIndex(x.Chunking, append(append([]firmware.Chunk{}, y.Chunks...), y.Chunks...))
	flagged := y.Encode()
	binary.LittleEndian.PutUint64(flagged[16:], 0)
	one := firmware.Chunk{ID: firmware.Sum([]byte("a")), Size: 1}
	for name, c := range map[string]struct {
		base   *firmware.Index
		target []byte
		most   int // bytes
	}{
		"the same":          {x, x.Encode(), 40},
		"moved":             {x, moved.Encode(), 60},
		"changed":           {x, y.Encode(), 40 * 36},
		"no base":           {nil, x.Encode(), 500 * 36},
		"an empty base":     {firmware.NewIndex(x.Chunking, nil), x.Encode(), 500 * 36},
		"repeats itself":    {nil, twice.Encode(), 500 * 36},
		"other flags":       {x, flagged, 40 * 36},
		"an empty target":   {x, firmware.NewIndex(x.Chunking, nil).Encode(), 40},
		"one over and over": {nil, firmware.NewIndex(firmware.Chunking{Min: 1, Avg: 1, Max: 1}, []firmware.Chunk{one, one, one, one}).Encode(), 80},
		"one id, two sizes": {
			firmware.NewIndex(x.Chunking, []firmware.Chunk{one}),
			firmware.NewIndex(x.Chunking, []firmware.Chunk{{ID: one.ID, Size: 2}, one, {ID: one.ID, Size: 2}}).Encode(), 140,
		},
	} {
		d, err := patch.Difference(c.base, c.target)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(d) > c.most {
			t.Errorf("%s: %d bytes, at most %d", name, len(d), c.most)
		}
		got, err := restore(t, d, c.base, len(c.target))
		if err != nil || !bytes.Equal(got, c.target) {
			t.Errorf("%s: another index, %v", name, err)
		}
		for n := 0; n < len(d); n += 1 + n/300*36 { // every byte where the instructions are, some of the ids
			if _, err := restore(t, d[:n], c.base, len(c.target)); !errors.Is(err, firmware.ErrMalformed) {
				t.Fatalf("%s: %d of %d bytes: %v", name, n, len(d), err)
			}
		}
		if _, err := restore(t, append(d, 0), c.base, len(c.target)); !errors.Is(err, firmware.ErrMalformed) {
			t.Errorf("%s: a byte more: %v", name, err)
		}
		for _, size := range []int{len(c.target) + 40, len(c.target) - 40, len(c.target) - 1, 0, -1} {
			if _, err := restore(t, d, c.base, size); !errors.Is(err, firmware.ErrMalformed) {
				t.Errorf("%s: as an index of %d bytes: %v", name, size, err)
			}
		}
	}
	if _, err := patch.Difference(nil, []byte("no index")); !errors.Is(err, firmware.ErrMalformed) {
		t.Errorf("no index: %v", err)
	}
}

// Whatever two indexes are, the difference brings one to the other.
func TestDifferenceProperty(t *testing.T) {
	chunks := rapid.SliceOf(rapid.Custom(func(t *rapid.T) firmware.Chunk {
		n := rapid.IntRange(1, 30).Draw(t, "n") // few ids, so that they repeat
		return firmware.Chunk{ID: firmware.Sum([]byte{byte(n)}), Size: uint32(n)}
	}))
	rapid.Check(t, func(t *rapid.T) {
		x := firmware.NewIndex(firmware.Chunking{Min: 1, Avg: 2, Max: 30}, chunks.Draw(t, "base"))
		y := firmware.NewIndex(firmware.Chunking{Min: 2, Avg: 3, Max: 40}, chunks.Draw(t, "target")).Encode()
		d, err := patch.Difference(x, y) // compares what comes back
		if err != nil {
			t.Fatal(err)
		}
		if len(d) > 60+len(y) {
			t.Fatalf("%d bytes for an index of %d", len(d), len(y))
		}
	})
}

// instructions returns a difference that was made by hand.
func instructions(t testing.TB, chunks uint64, ids int, all ...uint64) []byte {
	f := frame(t, append(make([]byte, 8), words(append([]uint64{1, 1, 1 << 20, chunks}, all...)...)...))
	return append(append(words(uint64(len(f))), f...), make([]byte, 32*ids)...)
}

func TestDifferenceRefuses(t *testing.T) {
	x := image(10, 13)
	const base, fresh, repeat = 0, 1, 2
	size := func(chunks int) int { return 104 + 40*chunks }
	if _, err := restore(t, instructions(t, 3, 1, 1<<2|base, 0, 1<<2|fresh, 0, 1<<2|repeat, 1), x, size(3)); err != nil {
		t.Fatal(err)
	}
	const most = (firmware.MaxIndexSize - 104) / 40
	for name, c := range map[string]struct {
		difference []byte
		size       int
	}{
		"nothing":             {nil, size(1)},
		"frame of 2^62":       {words(1 << 62), size(1)},
		"no frame":            {append(words(5), "hello"...), size(1)},
		"an empty frame":      {append(words(uint64(len(frame(t, nil)))), frame(t, nil)...), size(0)},
		"chunks of 2^62":      {instructions(t, 1<<62, 0), size(1)},
		"an index too large":  {instructions(t, most+1, 0), size(most + 1)},
		"no chunks at all":    {instructions(t, 1, 0, base), size(1)},
		"too many chunks":     {instructions(t, 1, 0, 2<<2|base, 0), size(1)},
		"run of 2^61":         {instructions(t, 1, 0, 1<<63|base, 0), size(1)},
		"behind the base":     {instructions(t, 1, 0, 1<<2|base, 20), size(1)},
		"before the base":     {instructions(t, 1, 0, 1<<2|base, 1), size(1)},
		"base at 2^62":        {instructions(t, 1, 0, 1<<2|base, 1<<62), size(1)},
		"run out of the base": {instructions(t, 11, 0, 11<<2|base, 0), size(11)},
		"ids that lack":       {instructions(t, 2, 1, 2<<2|fresh, 0, 0), size(2)},
		"ids left":            {instructions(t, 1, 1, 1<<2|base, 0), size(1)},
		"size of 2^62":        {instructions(t, 1, 1, 1<<2|fresh, 1<<62), size(1)},
		"size below one":      {instructions(t, 1, 1, 1<<2|fresh, 2*uint64(x.Chunks[0].Size)-1), size(1)},
		"size over the most":  {instructions(t, 1, 1, 1<<2|fresh, 2<<20), size(1)},
		"before the target":   {instructions(t, 2, 0, 1<<2|base, 0, 1<<2|repeat, 2), size(2)},
		"repeat of nothing":   {instructions(t, 2, 0, 1<<2|base, 0, 1<<2|repeat, 0), size(2)},
		"repeat from 2^62":    {instructions(t, 2, 0, 1<<2|base, 0, 1<<2|repeat, 1<<62), size(2)},
		"unknown":             {instructions(t, 1, 0, 1<<2|3, 0), size(1)},
		"instructions left":   {instructions(t, 1, 0, 1<<2|base, 0, 1), size(1)},
		"instructions lack":   {instructions(t, 2, 0, 1<<2|base, 0), size(2)},
		"a bomb":              {append(words(uint64(len(frame(t, make([]byte, 64<<20))))), frame(t, make([]byte, 64<<20))...), size(1)},
	} {
		p := packed(t, c.difference)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b, err := p.Index(c.difference, x, int64(c.size))
		runtime.ReadMemStats(&after)
		if b != nil || !errors.Is(err, firmware.ErrMalformed) && !errors.Is(err, firmware.ErrTooLarge) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 12<<20 {
			t.Errorf("%s: took %d bytes", name, n)
		}
	}
}

// FuzzInstructions goes below the compression.
func FuzzInstructions(f *testing.F) {
	x := image(10, 13)
	f.Add(words(1<<2, 0, 1<<2|1, 0, 1<<2|2, 1), uint8(3), uint8(1))
	f.Add(words(4<<2|1, 0, 0, 0, 0), uint8(4), uint8(4))
	f.Fuzz(func(t *testing.T, plain []byte, chunks, ids uint8) {
		in := frame(t, append(append(make([]byte, 8), words(1, 1, 1<<20, uint64(chunks))...), plain...))
		d := append(append(words(uint64(len(in))), in...), make([]byte, 32*int(ids))...)
		b, err := restore(t, d, x, 104+40*int(chunks))
		if err != nil {
			return
		}
		y, err := firmware.ParseIndex(b)
		if err != nil || len(y.Chunks) != int(chunks) {
			t.Fatalf("restored what is no index: %v", err)
		}
	})
}

// FuzzDifference is differential: what is written is read back, whatever the indexes hold.
func FuzzDifference(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, []byte{1, 2, 9, 4, 4, 4})
	f.Add([]byte{}, []byte{0, 0, 0})
	index := func(b []byte) *firmware.Index {
		chunks := make([]firmware.Chunk, len(b))
		for i, v := range b {
			chunks[i] = firmware.Chunk{ID: firmware.Sum([]byte{v}), Size: uint32(v) + 1}
		}
		return firmware.NewIndex(firmware.Chunking{Min: 1, Avg: 1, Max: 256}, chunks)
	}
	f.Fuzz(func(t *testing.T, base, target []byte) {
		if _, err := patch.Difference(index(base), index(target).Encode()); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkRestore(b *testing.B) {
	x := image(8000, 1)
	y, _ := upgrade(x, 1500, 2)
	target := y.Encode()
	d, err := patch.Difference(x, target)
	if err != nil {
		b.Fatal(err)
	}
	p := packed(b, d)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Index(d, x, int64(len(target))); err != nil {
			b.Fatal(err)
		}
	}
}
