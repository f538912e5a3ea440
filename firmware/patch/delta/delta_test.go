package delta_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32() >> 9)
	}
	return b
}

// guarded is a base of which only the declared ranges may be read.
type guarded struct {
	t      testing.TB
	b      []byte
	ranges []delta.Range
}

func (g guarded) ReadAt(p []byte, off int64) (int, error) {
	for _, r := range g.ranges {
		if off >= r.Offset && off+int64(len(p)) <= r.Offset+r.Length {
			return copy(p, g.b[off:]), nil
		}
	}
	g.t.Fatalf("%d bytes at %d are outside of the declared ranges", len(p), off)
	return 0, io.EOF
}

// whole declares all of a base.
func whole(base []byte) []delta.Range {
	if len(base) == 0 {
		return nil
	}
	return []delta.Range{{Length: int64(len(base))}}
}

func decode(body []byte, base io.ReaderAt, size int, sizes ...int) ([]byte, error) {
	var out []byte
	err := delta.Decode(body, base, int64(size), sizes, func(i int, plain []byte) error {
		if len(plain) != sizes[i] {
			return fmt.Errorf("piece %d has %d bytes", i, len(plain))
		}
		out = append(out, plain...)
		return nil
	})
	return out, err
}

// pieces cuts n bytes.
func pieces(n, most int, r *rand.Rand) (sizes []int) {
	for n > 0 {
		k := min(n, 1+r.IntN(most))
		sizes = append(sizes, k)
		n -= k
	}
	return sizes
}

// TestRebuilds walks the ways bytes can come: from the base with changed words, from the target itself near and farther
// than the window, from nowhere.
func TestRebuilds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	base := noise(3<<20, 1)
	changed := bytes.Clone(base[1<<20 : 2<<20])
	for at := 100; at+8 < len(changed); at += 20 + r.IntN(90) {
		v := binary.LittleEndian.Uint32(changed[at:])
		binary.LittleEndian.PutUint32(changed[at:], v+0x1350)
	}
	far := noise(9<<19, 2)
	for name, c := range map[string]struct {
		base, target []byte
		segments     []delta.Segment
		most         int // bytes of the body
	}{
		"changed words":       {base, changed, []delta.Segment{{Length: len(changed), From: 1 << 20}}, 60 << 10},
		"nothing to hold on":  {nil, noise(300<<10, 3), nil, 302 << 10},
		"zeros":               {nil, make([]byte, 3<<20), nil, 100},
		"longer than window":  {nil, slices.Concat(far, far[:100<<10], far[4<<20:]), nil, 9<<19 + 120<<10},
		"one byte":            {base, []byte{7}, nil, 16},
		"a segment of a byte": {base, base[5:6], []delta.Segment{{Length: 1, From: 5}}, 16},
		"end of the base": {base, slices.Concat(base[len(base)-1000:], base[:1000]), []delta.Segment{
			{Length: 1000, From: len(base) - 1000}, {At: 1000, Length: 1000},
		}, 64},
	} {
		if len(c.target) > delta.MaxPlain {
			t.Fatal("too long for one body")
		}
		sizes := pieces(len(c.target), 256<<10, r)
		body := delta.Encode(whole(c.base), c.base, c.target, sizes, c.segments)
		if len(body) > c.most {
			t.Errorf("%s: %d bytes, at most %d", name, len(body), c.most)
		}
		if len(body) > delta.MaxBody {
			continue // what nobody would send
		}
		got, err := decode(body, bytes.NewReader(c.base), len(c.base), sizes...)
		if err != nil || !bytes.Equal(got, c.target) {
			t.Errorf("%s: another target, %v", name, err)
		}
	}
}

// TestCode rebuilds programs in which everything behind one place moved: calls tell where they lead.
func TestCode(t *testing.T) {
	const n, shift = 1 << 20, 0x40
	for name, call := range map[string]func(b []byte, at, to int){
		"x86-64": func(b []byte, at, to int) {
			b[at] = 0xe8
			binary.LittleEndian.PutUint32(b[at+1:], uint32(to-at-5))
		},
		"arm64": func(b []byte, at, to int) {
			at, to = at&^3, to&^3
			binary.LittleEndian.PutUint32(b[at:], 0x25<<26|uint32((to-at)>>2)&(1<<26-1))
		},
	} {
		program := func(inserted int) []byte {
			r := rand.New(rand.NewPCG(5, 5))
			move := func(v int) int { // behind the middle, all is later by what was inserted
				if v >= n/2 {
					return v + inserted
				}
				return v
			}
			b := slices.Concat(noise(n/2, 6), make([]byte, inserted), noise(n/2, 7))
			for at := 64; at+16 < n; at += 24 + r.IntN(40) {
				if at < n/2 && at+16 > n/2 {
					continue
				}
				call(b, move(at), move(r.IntN(200)*n/200))
			}
			return b
		}
		base, target := program(0), program(shift)
		segments := []delta.Segment{{Length: n / 2}, {At: n/2 + shift, Length: n / 2, From: n / 2}}
		body := delta.Encode(whole(base), base, target, []int{1 << 20, len(target) - 1<<20}, segments)
		got, err := decode(body, bytes.NewReader(base), len(base), 1<<20, len(target)-1<<20)
		if err != nil || !bytes.Equal(got, target) {
			t.Errorf("%s: another target, %v", name, err)
		}
		if changed := 2 * n / 44 / 4; len(body) > changed { // a quarter byte for each of the calls that changed, or less
			t.Errorf("%s: %d bytes for about %d changed calls", name, len(body), n/44/2)
		}
	}
}

// edit draws a target that has to do with a base, and segments that say so, some of them badly.
func edit(t *rapid.T, base []byte) (target []byte, segments []delta.Segment) {
	for range rapid.IntRange(0, 8).Draw(t, "edits") {
		n := rapid.IntRange(1, 3000).Draw(t, "n")
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			target = append(target, noise(n, rapid.Uint64().Draw(t, "seed"))...)
		case 1:
			target = append(target, bytes.Repeat([]byte{byte(n)}, n)...)
		case 2:
			if len(target) > 0 {
				from := rapid.IntRange(0, len(target)-1).Draw(t, "from")
				target = append(target, target[from:min(len(target), from+n)]...)
			}
		default:
			from := rapid.IntRange(0, len(base)-1).Draw(t, "from")
			piece := bytes.Clone(base[from:min(len(base), from+n)])
			for range rapid.IntRange(0, 20).Draw(t, "changes") {
				piece[rapid.IntRange(0, len(piece)-1).Draw(t, "at")] += byte(n)
			}
			segments = append(segments, delta.Segment{At: len(target), Length: len(piece), From: from})
			target = append(target, piece...)
		}
	}
	return append(target, 1), segments
}

func TestProperty(t *testing.T) {
	all := noise(20000, 9)
	var used delta.Decoder // by one body after the other
	rapid.Check(t, func(r *rapid.T) {
		var ranges []delta.Range
		var base []byte
		for at := 0; at < len(all)-4000; {
			g := delta.Range{
				Offset: int64(at + rapid.IntRange(0, 2000).Draw(r, "gap")), Length: int64(rapid.IntRange(1, 2000).Draw(r, "length")),
			}
			ranges = append(ranges, g)
			base = append(base, all[g.Offset:g.Offset+g.Length]...)
			at = int(g.Offset + g.Length)
		}
		target, segments := edit(r, base)
		sizes := pieces(len(target), rapid.IntRange(1, 5000).Draw(r, "most"), rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "cuts"), 1)))
		body := delta.Encode(ranges, base, target, sizes, segments)
		var got []byte
		err := used.Decode(body, guarded{t, all, ranges}, int64(len(all)), sizes, func(_ int, plain []byte) error {
			got = append(got, plain...)
			return nil
		})
		if err != nil || !bytes.Equal(got, target) {
			r.Fatalf("another target: %v", err)
		}
	})
}

func TestRefuses(t *testing.T) {
	base := noise(100<<10, 10)
	target := slices.Concat(base[:40<<10], noise(10<<10, 11))
	body := delta.Encode(whole(base), base, target, []int{len(target)}, []delta.Segment{{Length: 40 << 10}})
	read := func(body []byte, sizes ...int) error {
		_, err := decode(body, bytes.NewReader(base), len(base), sizes...)
		return err
	}
	if err := read(body, len(target)); err != nil {
		t.Fatal(err)
	}
	words := func(v ...uint64) []byte {
		b := []byte{20, 0}
		for _, x := range v {
			b = binary.AppendUvarint(b, x)
		}
		return b
	}
	many := []uint64{delta.MaxRanges + 1}
	for range many[0] {
		many = append(many, 1, 1)
	}
	for name, c := range map[string]struct {
		body  []byte
		sizes []int
		want  error
	}{
		"nothing":                  {nil, []int{1}, firmware.ErrMalformed},
		"a window of 2^40":         {append([]byte{40}, body[1:]...), []int{1}, firmware.ErrMalformed},
		"unknown code":             {append([]byte{20, 9}, body[2:]...), []int{1}, firmware.ErrMalformed},
		"no stream":                {words(0), []int{1000}, firmware.ErrMalformed},
		"too many ranges":          {words(many...), []int{1}, firmware.ErrMalformed},
		"ranges of 2^62":           {words(1 << 62), []int{1}, firmware.ErrMalformed},
		"a range at 2^62":          {words(1, 1<<62, 1), []int{1}, firmware.ErrMalformed},
		"a range over the end":     {words(1, 0, 100<<10+1), []int{1}, firmware.ErrMalformed},
		"an empty range":           {words(1, 5, 0), []int{1}, firmware.ErrMalformed},
		"a second range over it":   {words(2, 0, 100<<10, 0, 1), []int{1}, firmware.ErrMalformed},
		"a piece of no bytes":      {body, []int{0}, firmware.ErrTooLarge},
		"a piece of less than 0":   {body, []int{-1}, firmware.ErrTooLarge},
		"a piece that is too long": {body, []int{firmware.MaxChunkSize + 1}, firmware.ErrTooLarge},
		"pieces that are too many": {body, slices.Repeat([]int{firmware.MaxChunkSize}, delta.MaxPlain/firmware.MaxChunkSize+1), firmware.ErrTooLarge},
		"a body that is too long":  {make([]byte, delta.MaxBody+1), []int{1}, firmware.ErrTooLarge},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := read(c.body, c.sizes...)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 9<<20 {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
	}
	// Cut anywhere it says so or yields something else, which the digest will tell.
	for n := 0; n < len(body); n += 1 + n/100 {
		if got, err := decode(body[:n], bytes.NewReader(base), len(base), len(target)); err == nil && bytes.Equal(got, target) && n < len(body)-4 {
			t.Fatalf("%d of %d bytes are enough", n, len(body))
		} else if err != nil && !errors.Is(err, firmware.ErrMalformed) {
			t.Fatalf("%d of %d bytes: %v", n, len(body), err)
		}
	}
	if _, err := decode(body, bytes.NewReader(base[:1000]), len(base), len(target)); !errors.Is(err, firmware.ErrCorrupt) {
		t.Errorf("a base that is shorter than it should be: %v", err)
	}
	stop := errors.New("stop")
	if err := delta.Decode(body, bytes.NewReader(base), int64(len(base)), []int{len(target)}, func(int, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of deliver: %v", err)
	}
}

// TestMemory holds what a device needs, whatever the window.
func TestMemory(t *testing.T) {
	base := noise(6<<20, 20)
	for name, c := range map[string]struct {
		segments []delta.Segment
		most     uint64
	}{
		"an upgrade":    {[]delta.Segment{{Length: 6 << 20}}, 6 << 20},
		"all of it new": {nil, 10 << 20},
	} {
		target := slices.Concat(base, base[:100<<10])
		from := base
		if c.segments == nil {
			from = nil
			target = bytes.Repeat(noise(3<<20, 21), 2)
		}
		sizes := pieces(len(target), 128<<10, rand.New(rand.NewPCG(3, 3)))
		body := delta.Encode(whole(from), from, target, sizes, c.segments)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := delta.Decode(body, bytes.NewReader(from), int64(len(from)), sizes, func(int, []byte) error { return nil })
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; err != nil || n > c.most {
			t.Errorf("%s: %d bytes were allocated, %v", name, n, err)
		} else {
			t.Logf("%s: %d bytes were allocated", name, n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	base := noise(64<<10, 12)
	ranges := []delta.Range{{Offset: 100, Length: 5000}, {Offset: 20 << 10, Length: 30 << 10}}
	part := slices.Concat(base[100:5100], base[20<<10:50<<10])
	target := slices.Concat(part[1000:9000], noise(500, 13), make([]byte, 3000), part[:2000])
	f.Add(delta.Encode(ranges, part, target, []int{5000, len(target) - 5000}, []delta.Segment{{Length: 8000, From: 1000}}), 5000, len(target)-5000)
	f.Add(delta.Encode(nil, nil, target, []int{5000, len(target) - 5000}, nil), 5000, len(target)-5000)
	f.Fuzz(func(t *testing.T, body []byte, a, b int) {
		if _, err := decode(body, bytes.NewReader(base), len(base), a, b); err != nil &&
			!errors.Is(err, firmware.ErrMalformed) && !errors.Is(err, firmware.ErrTooLarge) {
			t.Fatal(err)
		}
	})
}

// FuzzRebuild compares what the decoder makes with what the encoder meant.
func FuzzRebuild(f *testing.F) {
	f.Add([]byte("an old text, longer than the new one"), []byte("a new text"), 3, uint16(0))
	f.Add(make([]byte, 300), append(make([]byte, 100), 1, 2, 3), 50, uint16(20))
	f.Add(noise(3000, 14), noise(3000, 14), 1000, uint16(0))
	f.Fuzz(func(t *testing.T, base, target []byte, size int, from uint16) {
		if len(target) == 0 || size <= 0 || len(target)/size > 1000 || len(target) > 1<<20 {
			return
		}
		var sizes []int
		for n := len(target); n > 0; n -= size {
			sizes = append(sizes, min(n, size))
		}
		if size > firmware.MaxChunkSize {
			return
		}
		var segments []delta.Segment
		if n := min(len(base)-int(from), len(target)); n > 0 {
			segments = []delta.Segment{{Length: n, From: int(from)}}
		}
		got, err := decode(delta.Encode(whole(base), base, target, sizes, segments), bytes.NewReader(base), len(base), sizes...)
		if err != nil || !bytes.Equal(got, target) {
			t.Fatalf("another target: %v", err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	base := noise(4<<20, 1)
	changed := bytes.Clone(base)
	r := rand.New(rand.NewPCG(1, 1))
	for at := 100; at+8 < len(changed); at += 20 + r.IntN(90) {
		v := binary.LittleEndian.Uint32(changed[at:])
		binary.LittleEndian.PutUint32(changed[at:], v+uint32(r.IntN(8))<<8)
	}
	sizes := slices.Repeat([]int{64 << 10}, len(changed)>>16)
	body := delta.Encode(whole(base), base, changed, sizes, []delta.Segment{{Length: len(changed)}})
	b.SetBytes(int64(len(changed)))
	b.ReportAllocs()
	var decoder delta.Decoder
	for b.Loop() {
		if err := decoder.Decode(body, bytes.NewReader(base), int64(len(base)), sizes, func(int, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
