package encode_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/chunker"
	"github.com/waxwing-ota/waxwing/firmware/patch"
	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
	"github.com/waxwing-ota/waxwing/firmware/patch/encode"
)

func payload(t testing.TB, b []byte) encode.Payload {
	t.Helper()
	if len(b) == 0 {
		return encode.Payload{Bytes: bytes.NewReader(nil), Index: firmware.NewIndex(chunker.Default(), nil)}
	}
	var chunks []firmware.Chunk
	if err := chunker.Split(bytes.NewReader(b), chunker.Default(), func(p []byte) error {
		chunks = append(chunks, firmware.Chunk{ID: firmware.Sum(p), Size: uint32(len(p))})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return encode.Payload{Bytes: bytes.NewReader(b), Index: firmware.NewIndex(chunker.Default(), chunks), SHA256: firmware.Sum(b)}
}

func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32() >> 9)
	}
	return b
}

// program is bytes like those of a linked program: many words, of which some point elsewhere in it.
func program(n int, shift uint32) []byte {
	r := rand.New(rand.NewPCG(3, 3))
	b := noise(n, 3)
	for at := 64; at+8 < n; at += 8 + r.IntN(40) {
		to := r.Uint32N(uint32(n))
		if to > uint32(n)/2 {
			to += shift // everything in the second half moved
		}
		b[at], b[at+1], b[at+2], b[at+3] = byte(to), byte(to>>8), byte(to>>16), byte(to>>24)
	}
	return b
}

// frames says what chunks cost as they are stored.
func frames(size int64) func(context.Context, firmware.ChunkID) (int64, error) {
	return func(context.Context, firmware.ChunkID) (int64, error) { return size, nil }
}

// rebuild applies every group and compares with the target.
func rebuild(t testing.TB, base encode.Payload, x *firmware.Index, b *encode.Built) (chunksDone int) {
	t.Helper()
	var file bytes.Buffer
	if _, err := b.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	p, _, err := patch.ParseHead(file.Bytes())
	if err != nil || p.Size != int64(file.Len()) {
		t.Fatalf("a file of %d bytes, head %v: %v", file.Len(), p, err)
	}
	chunks := x.Distinct()
	for _, g := range p.Groups {
		sizes := make([]int, len(g.Chunks))
		for i, n := range g.Chunks {
			sizes[i] = int(chunks[n].Size)
		}
		body := file.Bytes()[g.Offset : g.Offset+g.Size]
		if err := delta.Decode(body, base.Bytes, base.Index.Size(), sizes, func(i int, plain []byte) error {
			if firmware.Sum(plain) != chunks[g.Chunks[i]].ID {
				t.Fatalf("chunk %d differs", g.Chunks[i])
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		chunksDone += len(sizes)
	}
	return chunksDone
}

// missing counts the distinct chunks of a target that a base lacks.
func missing(base, target *firmware.Index) int {
	have := map[firmware.ChunkID]bool{}
	for _, c := range base.Chunks {
		have[c.ID] = true
	}
	return len(firmware.MakePlan(target, func(id firmware.ChunkID) bool { return have[id] }).Missing)
}

func TestBuild(t *testing.T) {
	old := program(3<<20, 0)
	moved := slices.Concat(noise(10<<10, 8), program(3<<20, 0x1000)) // nothing lies where it did
	for name, c := range map[string]struct {
		old, new []byte
		most     int64 // bytes of the pack
	}{
		"a program that moved": {old, moved, 400 << 10},
		"the same":             {old, old, 400},
		"unrelated":            {old, noise(1<<20, 9), 1<<20 + 4<<10},
		"an empty base":        {nil, old, 3<<20 + 16<<10},
		"parts in disorder":    {old, slices.Concat(old[2<<20:], noise(100, 10), old[:2<<20]), 20 << 10},
	} {
		base, target := payload(t, c.old), payload(t, c.new)
		var most atomic.Int64
		b, err := encode.Build(t.Context(), encode.Options{
			Base: base, Target: target, Frame: frames(300 << 10), Workers: 2,
			Progress: func(done, total int64) {
				if done > total {
					t.Errorf("%s: %d of %d bytes", name, done, total)
				}
				for v := most.Load(); done > v && !most.CompareAndSwap(v, done); v = most.Load() {
				}
			},
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b.Size > c.most {
			t.Errorf("%s: %d bytes, at most %d", name, b.Size, c.most)
		}
		lacking := missing(base.Index, target.Index)
		if n := rebuild(t, base, target.Index, b); n != lacking {
			t.Errorf("%s: %d chunks of %d", name, n, lacking)
		}
		if lacking > 0 && most.Load() < int64(len(c.old)) {
			t.Errorf("%s: progress ended at %d", name, most.Load())
		}
		again, err := encode.Build(t.Context(), encode.Options{Base: base, Target: target, Frame: frames(300 << 10), Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		var x, y bytes.Buffer
		_, errX := b.WriteTo(&x)
		_, errY := again.WriteTo(&y)
		if errX != nil || errY != nil || !bytes.Equal(x.Bytes(), y.Bytes()) {
			t.Errorf("%s: one worker makes another pack than two", name)
		}
	}
}

// A group that saves nothing is left out: devices fetch its chunks as they are.
func TestLeavesOut(t *testing.T) {
	base, target := payload(t, noise(1<<20, 11)), payload(t, noise(1<<20, 12))
	b, err := encode.Build(t.Context(), encode.Options{Base: base, Target: target, Frame: frames(1000)})
	if err != nil || len(b.Groups) != 0 {
		t.Errorf("%d groups, %v", len(b.Groups), err)
	}
}

// broken cannot be read.
type broken struct{}

var errBroken = errors.New("broken")

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

func TestFails(t *testing.T) {
	base, target := payload(t, noise(1<<20, 13)), payload(t, noise(1<<20, 14))
	o := encode.Options{Base: base, Target: target, Frame: frames(1000)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := encode.Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for name, change := range map[string]func(o *encode.Options){
		"base":   func(o *encode.Options) { o.Base.Bytes = broken{} },
		"target": func(o *encode.Options) { o.Target.Bytes = broken{} },
		"frame": func(o *encode.Options) {
			o.Frame = func(context.Context, firmware.ChunkID) (int64, error) { return 0, errBroken }
		},
	} {
		bad := o
		change(&bad)
		if _, err := encode.Build(t.Context(), bad); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	base, target := payload(b, program(8<<20, 0)), payload(b, slices.Concat(noise(10<<10, 8), program(8<<20, 0x1000)))
	b.SetBytes(target.Index.Size())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encode.Build(b.Context(), encode.Options{Base: base, Target: target, Frame: frames(300 << 10)}); err != nil {
			b.Fatal(err)
		}
	}
}
