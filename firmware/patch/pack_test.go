package patch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch"
)

var (
	baseSum   = firmware.Sum([]byte("base"))
	targetSum = firmware.Sum([]byte("target"))
)

// image returns an index like that of a real payload: chunks of 16 to 256 KiB, and runs of zeros.
func image(chunks int, seed uint64) *firmware.Index {
	r := rand.New(rand.NewPCG(seed, 1))
	var all []firmware.Chunk
	for len(all) < chunks {
		c := firmware.Chunk{Size: 16<<10 + r.Uint32N(1<<17)}
		for i := range c.ID {
			c.ID[i] = byte(r.Uint32())
		}
		all = append(all, c)
		if r.IntN(100) == 0 {
			for range r.IntN(20) {
				all = append(all, firmware.Chunk{ID: firmware.Sum(make([]byte, 256<<10)), Size: 256 << 10})
			}
		}
	}
	return firmware.NewIndex(firmware.Chunking{Min: 16 << 10, Avg: 64 << 10, Max: 256 << 10}, all[:chunks])
}

// upgrade replaces about changed chunks of an index in clusters, a few of them with chunks of other sizes.
func upgrade(x *firmware.Index, changed int, seed uint64) (y *firmware.Index, fresh int) {
	r := rand.New(rand.NewPCG(seed, 2))
	all := slices.Clone(x.Chunks)
	for fresh < changed {
		at := r.IntN(len(all))
		for n := min(1+r.IntN(12), len(all)-at, changed-fresh); n > 0; n-- {
			if r.IntN(2) == 0 {
				all[at].Size = 16<<10 + r.Uint32N(1<<17)
			}
			for i := range all[at].ID {
				all[at].ID[i] = byte(r.Uint32())
			}
			at++
			fresh++
		}
	}
	return firmware.NewIndex(x.Chunking, all), fresh
}

// groupsOf puts the chunks of y that x lacks into groups of n.
func groupsOf(x, y *firmware.Index, n int) []patch.Group {
	have := map[firmware.ChunkID]bool{}
	for _, c := range x.Chunks {
		have[c.ID] = true
	}
	var groups []patch.Group
	var of []int
	for i, c := range y.Distinct() {
		if !have[c.ID] {
			of = append(of, i)
		}
	}
	for c := range slices.Chunk(of, n) {
		groups = append(groups, patch.Group{Chunks: c, Size: int64(90_000 + 7919*len(groups)%60_000)})
	}
	return groups
}

func TestSizes(t *testing.T) {
	x := image(8000, 1)
	y, _ := upgrade(x, 1500, 2)
	groups := groupsOf(x, y, 50)
	carried := 0
	for _, g := range groups {
		carried += len(g.Chunks)
	}
	difference, err := patch.Difference(x, y.Encode())
	if err != nil {
		t.Fatal(err)
	}
	front, p, err := patch.Encode(baseSum, targetSum, difference, groups)
	if err != nil {
		t.Fatal(err)
	}
	at, n := p.IndexSpan()
	t.Logf("%d groups, %d chunks: directory %d bytes, difference %d bytes, %.2f a new chunk; the index has %d",
		len(groups), carried, at, n, float64(n)/float64(carried), len(y.Encode()))
	if at > 1500 || at > patch.HeadSize {
		t.Errorf("header and directory take %d bytes", at)
	}
	if float64(n) > 34.5*float64(carried) {
		t.Errorf("the difference takes %.1f bytes a new chunk", float64(n)/float64(carried))
	}
	if int64(len(front)) != at+n {
		t.Errorf("the front has %d bytes, the spans %d", len(front), at+n)
	}
}

func TestHeadComesInPieces(t *testing.T) {
	x := image(300, 3)
	y, _ := upgrade(x, 100, 4)
	groups := groupsOf(x, y, 7)
	difference, err := patch.Difference(x, y.Encode())
	if err != nil {
		t.Fatal(err)
	}
	front, want, err := patch.Encode(baseSum, targetSum, difference, groups)
	if err != nil {
		t.Fatal(err)
	}
	if want.Base != baseSum || want.Target != targetSum || want.Check(y.Distinct()) != nil {
		t.Errorf("%+v", want)
	}
	offset := int64(len(front))
	for i, g := range want.Groups {
		if g.Offset != offset || g.Size != groups[i].Size || !slices.Equal(g.Chunks, groups[i].Chunks) {
			t.Errorf("group %d: %+v", i, g)
		}
		offset += g.Size
	}
	if want.Size != offset {
		t.Errorf("the file has %d bytes, the bodies end at %d", want.Size, offset)
	}
	at, n := want.IndexSpan()
	for have := range front {
		p, need, err := patch.ParseHead(front[:have])
		switch {
		case err != nil:
			t.Fatalf("%d bytes: %v", have, err)
		case int64(have) < at && (p != nil || need <= int64(have) || need > at):
			t.Fatalf("%d bytes: needs %d, %v", have, need, p)
		case int64(have) >= at && !cmp.Equal(p, want, cmp.AllowUnexported(patch.Pack{})):
			t.Fatalf("%d bytes: %+v", have, p)
		}
	}
	got, err := want.Index(front[at:at+n], x, int64(len(y.Encode())))
	if err != nil || !bytes.Equal(got, y.Encode()) {
		t.Fatalf("another index: %v", err)
	}
	if _, err := want.Index(front[at:at+n-1], x, int64(len(y.Encode()))); !errors.Is(err, firmware.ErrMalformed) {
		t.Errorf("a short difference: %v", err)
	}
	if err := want.Check(y.Distinct()[:3]); !errors.Is(err, firmware.ErrMalformed) {
		t.Errorf("chunks that are not there: %v", err)
	}
	if err := want.Check(slices.Repeat([]firmware.Chunk{{Size: firmware.MaxChunkSize * 4}}, 1000)); !errors.Is(err, firmware.ErrTooLarge) {
		t.Errorf("too much in a group: %v", err)
	}
}

// Whatever the groups are, they come back.
func TestDirectoryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.Permutation(seq(rapid.IntRange(1, 400).Draw(t, "chunks"))).Draw(t, "order")
		var groups []patch.Group
		for len(numbers) > 0 {
			n := rapid.IntRange(1, len(numbers)).Draw(t, "n")
			g := slices.Clone(numbers[:n])
			slices.Sort(g)
			groups = append(groups, patch.Group{Chunks: g, Size: rapid.Int64Range(1, 1<<22).Draw(t, "size")})
			numbers = numbers[n:]
			if rapid.Bool().Draw(t, "leave the rest out") {
				break
			}
		}
		_, p, err := patch.Encode(baseSum, targetSum, nil, groups)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(groups, p.Groups, cmpopts.IgnoreFields(patch.Group{}, "Offset")); diff != "" {
			t.Fatal(diff)
		}
	})
}

func seq(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func TestEncodeRefuses(t *testing.T) {
	for name, groups := range map[string][]patch.Group{
		"empty group":    {{Size: 1}},
		"no body":        {{Chunks: []int{1}}},
		"falling":        {{Chunks: []int{2, 1}, Size: 1}},
		"twice in one":   {{Chunks: []int{1, 1}, Size: 1}},
		"twice in two":   {{Chunks: []int{1, 2}, Size: 1}, {Chunks: []int{2}, Size: 1}},
		"below zero":     {{Chunks: []int{-1}, Size: 1}},
		"beyond":         {{Chunks: []int{1 << 40}, Size: 1}},
		"a giant body":   {{Chunks: []int{1}, Size: 1 << 30}},
		"a body below 0": {{Chunks: []int{1}, Size: -1}},
	} {
		if _, _, err := patch.Encode(baseSum, targetSum, nil, groups); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
	if _, _, err := patch.Encode(baseSum, targetSum, nil, nil); err != nil {
		t.Errorf("a pack without groups: %v", err)
	}
}

// front puts a directory into a file of a given size, unchecked.
func front(directory []byte, size uint64) []byte {
	b := append([]byte("WAXPACK\x01"), make([]byte, 64)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(directory)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, size)
	return append(b, directory...)
}

func frame(t testing.TB, b []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(b, nil)
}

func words(all ...uint64) (b []byte) {
	for _, v := range all {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func TestParseHeadRefuses(t *testing.T) {
	good := front(frame(t, words(1, 5, 1, 0)), 0)
	size := uint64(len(good) + 5)
	good = front(frame(t, words(1, 5, 1, 0)), size)
	if _, _, err := patch.ParseHead(good); err != nil {
		t.Fatal(err)
	}
	directory := func(all ...uint64) []byte {
		f := frame(t, words(all...))
		return front(f, uint64(len(front(f, 0)))+all[1])
	}
	var stream bytes.Buffer // a frame that does not tell its size
	e, _ := zstd.NewWriter(&stream, zstd.WithWindowSize(8<<20))
	for range 64 {
		_, _ = e.Write(make([]byte, 1<<20))
	}
	_ = e.Close()
	for name, b := range map[string][]byte{
		"empty file name":      []byte("GIF89a"),
		"another version":      append([]byte("WAXPACK\x02"), good[8:]...),
		"file too short":       front(frame(t, words(1, 5, 1, 0)), size-1),
		"file too long":        front(frame(t, words(1, 5, 1, 0)), size+1),
		"file of 2^62":         front(frame(t, words(1, 5, 1, 0)), 1<<62),
		"file of 2^64-1":       front(frame(t, words(1, 5, 1, 0)), 1<<64-1),
		"no frame":             front([]byte("hello"), size),
		"groups of 2^62":       directory(1<<62, 1),
		"body of 2^62":         directory(1, 1<<62, 1, 0),
		"empty body":           directory(1, 0, 1, 0),
		"chunks of 2^62":       directory(1, 5, 1<<62, 0),
		"no chunks":            directory(1, 5, 0),
		"half a million twice": directory(2, 5, 1<<19, 1<<19, 2, 1<<19-2),
		"number of 2^62":       directory(1, 5, 1, 1<<62),
		"number below zero":    directory(1, 5, 1, 3),
		"run over the count":   directory(1, 5, 2, 2, 1),
		"run of 2^62":          directory(1, 5, 2, 2, 1<<62),
		"cut":                  directory(1, 5, 2, 0),
		"trailing":             directory(1, 5, 1, 0, 0),
		"endless varint":       front(frame(t, bytes.Repeat([]byte{0xff}, 20)), size),
		"a bomb that says so":  front(frame(t, make([]byte, 64<<20)), size),
		"a bomb that does not": front(stream.Bytes(), size),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, _, err := patch.ParseHead(b)
		runtime.ReadMemStats(&after)
		if p != nil || !errors.Is(err, firmware.ErrMalformed) && !errors.Is(err, firmware.ErrTooLarge) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%s: took %d bytes", name, n)
		}
	}
	huge := front(nil, 1<<30)
	binary.LittleEndian.PutUint32(huge[72:], patch.MaxDirectory+1)
	if _, _, err := patch.ParseHead(huge); !errors.Is(err, firmware.ErrTooLarge) {
		t.Errorf("a giant directory: %v", err)
	}
	binary.LittleEndian.PutUint32(huge[72:], 0)
	binary.LittleEndian.PutUint32(huge[76:], 1<<32-1)
	if _, _, err := patch.ParseHead(huge); !errors.Is(err, firmware.ErrTooLarge) {
		t.Errorf("a giant difference: %v", err)
	}
}

func FuzzParseHead(f *testing.F) {
	x := image(40, 5)
	y, _ := upgrade(x, 10, 6)
	whole, _, err := patch.Encode(baseSum, targetSum, nil, groupsOf(x, y, 3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(front(frame(f, words(1, 5, 1, 0)), 123))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, need, err := patch.ParseHead(b)
		if err != nil || p == nil {
			if err == nil && need <= int64(len(b)) {
				t.Fatalf("needs %d of %d bytes", need, len(b))
			}
			return
		}
		_, again, err := patch.Encode(p.Base, p.Target, nil, p.Groups)
		if err != nil {
			t.Fatalf("parsed, but cannot be encoded: %v", err)
		}
		if diff := cmp.Diff(p.Groups, again.Groups, cmpopts.IgnoreFields(patch.Group{}, "Offset")); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzDirectory goes below the compression, where a fuzzer that changes bytes does not come.
func FuzzDirectory(f *testing.F) {
	f.Add(words(1, 5, 1, 0))
	f.Add(words(2, 5, 9, 2, 3, 4, 1, 0, 1, 7))
	f.Fuzz(func(t *testing.T, plain []byte) {
		b := front(frame(t, plain), 0)
		for size := uint64(len(b)); size < uint64(len(b))+64; size++ {
			binary.LittleEndian.PutUint64(b[80:], size)
			p, _, err := patch.ParseHead(b)
			if err != nil {
				continue
			}
			if _, _, err := patch.Encode(p.Base, p.Target, nil, p.Groups); err != nil {
				t.Fatalf("parsed, but cannot be encoded: %v", err)
			}
		}
	})
}
