package assemble_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
	"github.com/waxwing-ota/waxwing/firmware/chunker"
)

// nobody is a fetch for assemblies that have all they need.
func nobody(context.Context, []firmware.Chunk, assemble.Deliver) error {
	return errors.New("there was something to fetch")
}

// TestWritesOnlyWhatDiffers assembles over a slot that differs by one byte in each of three pages: these are written.
func TestWritesOnlyWhatDiffers(t *testing.T) {
	_, wanted := payloads()
	index, _ := cut(t, wanted)
	for _, seed := range []firmware.Source{
		firmware.NewSeed(index, bytes.NewReader(wanted)),
		struct{ firmware.Source }{firmware.NewSeed(index, bytes.NewReader(wanted))}, // that gives away its bytes
	} {
		target := newSlot(len(wanted))
		run := func() assemble.Stats {
			t.Helper()
			stats, err := assemble.New(assemble.Options{
				Index: index, Digest: firmware.Sum(wanted), Target: target, Seeds: []firmware.Source{seed},
			}).Run(t.Context(), nobody)
			if err != nil || !bytes.Equal(target.b, wanted) || stats.Reused != stats.Total {
				t.Fatalf("%+v, %v", stats, err)
			}
			return stats
		}
		if first := run(); first.Written < 1<<20 || first.Written > int64(len(wanted))-(256<<10)+4<<10 {
			t.Errorf("a fresh slot takes %d of %d bytes, and 256 KiB of these are zeros", first.Written, len(wanted))
		}
		if again := run(); again.Written != 0 {
			t.Errorf("the same again writes %d bytes", again.Written)
		}
		for _, at := range []int{5, 400 << 10, 1 << 20} {
			target.b[at] ^= 1
		}
		if mended := run(); mended.Written == 0 || mended.Written > 3*4<<10 {
			t.Errorf("three bytes cost %d", mended.Written)
		}
	}
}

// TestHolesStayHoles assembles onto a fresh sparse file and onto one that is shorter than the payload.
func TestHolesStayHoles(t *testing.T) {
	wanted := append(noise(100<<10, 1), make([]byte, 8<<20)...)
	wanted = append(wanted, noise(50<<10, 2)...)
	wanted = append(wanted, make([]byte, 1<<20)...) // also at the end
	index, byID := cut(t, wanted)
	for i, size := range []int64{int64(len(wanted)), 0, int64(len(wanted))} {
		f, err := os.Create(filepath.Join(t.TempDir(), "slot"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		var target assemble.Target = f
		if i == 2 {
			target = assemble.File{File: f} // which knows its holes
		}
		n := 0
		stats, err := assemble.New(assemble.Options{Index: index, Digest: firmware.Sum(wanted), Target: target}).Run(t.Context(), origin(byID, &n))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(f.Name())
		if err != nil || !bytes.Equal(got, wanted) {
			t.Fatalf("another payload, %v", err)
		}
		if size == 0 {
			continue // what was not there is written
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 400<<10 || stats.Written > 200<<10 {
			t.Errorf("150 KiB and a hole take %d bytes, %d were written", used, stats.Written)
		}
	}
}

// TestWithoutDigest assembles what only an index describes, with the ids that casync gives when nobody tells it otherwise.
func TestWithoutDigest(t *testing.T) {
	_, wanted := payloads()
	sha256, _ := cut(t, wanted)
	index := firmware.NewIndex(sha256.Chunking, nil)
	index.Hash = firmware.HashSHA512
	byID := map[firmware.ChunkID][]byte{}
	chunks := make([]firmware.Chunk, len(sha256.Chunks))
	for i, c := range sha256.Chunks {
		span := sha256.Span(i)
		plain := wanted[span.Offset:][:span.Size]
		chunks[i] = firmware.Chunk{ID: index.Hash.Sum(plain), Size: c.Size}
		byID[chunks[i].ID] = plain
	}
	index = firmware.NewIndex(index.Chunking, chunks)
	index.Hash = firmware.HashSHA512
	target := newSlot(len(wanted))
	n := 0
	a := assemble.New(assemble.Options{Index: index, Target: target})
	if _, err := a.Run(t.Context(), origin(byID, &n)); err != nil || !bytes.Equal(target.b, wanted) {
		t.Fatal(err)
	}
	again := newSlot(len(wanted))
	if _, err := assemble.New(assemble.Options{
		Index: index, Target: again, Seeds: []firmware.Source{firmware.NewSeed(index, target)},
	}).Run(t.Context(), nobody); err != nil || !bytes.Equal(again.b, wanted) {
		t.Fatal("from a seed:", err)
	}
	target.rotten = 700 << 10
	if _, err := a.Run(t.Context(), origin(byID, &n)); !errors.Is(err, firmware.ErrCorrupt) {
		t.Errorf("a byte that does not stay: %v", err)
	}
}

// TestIndexThatContradictsItself gives one chunk two sizes.
func TestIndexThatContradictsItself(t *testing.T) {
	plain := noise(1<<10, 1)
	id := firmware.Sum(plain)
	for _, sizes := range [][2]uint32{{1 << 10, 9}, {9, 1 << 10}, {1 << 10, 16 << 10}, {16 << 10, 1 << 10}} {
		index := firmware.NewIndex(firmware.Chunking{Min: 1, Avg: 4 << 10, Max: 16 << 10}, []firmware.Chunk{{ID: id, Size: sizes[0]}, {ID: id, Size: sizes[1]}})
		for _, seeds := range [][]firmware.Source{nil, {firmware.NewSeed(index, bytes.NewReader(plain))}} {
			target := newSlot(int(index.Size()))
			_, err := assemble.New(assemble.Options{Index: index, Digest: firmware.Sum(plain), Target: target, Seeds: seeds}).
				Run(t.Context(), func(_ context.Context, m []firmware.Chunk, deliver assemble.Deliver) error { return deliver(plain, id) })
			if !errors.Is(err, firmware.ErrCorrupt) {
				t.Errorf("sizes %d, %d seeds: %v", sizes, len(seeds), err)
			}
		}
	}
}

// A source that hands over another length than the index says is no source.
type liar struct{}

func (liar) Has(firmware.ChunkID) bool { return true }
func (liar) Chunk(context.Context, firmware.ChunkID) ([]byte, error) {
	return []byte("a lie"), nil
}

func TestSeedThatLies(t *testing.T) {
	_, wanted := payloads()
	index, byID := cut(t, wanted)
	target := newSlot(len(wanted))
	n := 0
	stats, err := assemble.New(assemble.Options{
		Index: index, Digest: firmware.Sum(wanted), Target: target, Seeds: []firmware.Source{liar{}},
	}).Run(t.Context(), origin(byID, &n))
	if err != nil || !bytes.Equal(target.b, wanted) || stats.Fetched == 0 {
		t.Fatalf("%+v, %v", stats, err)
	}
}

// TestBrokenTarget fails to sync, and to be read back.
func TestBrokenTarget(t *testing.T) {
	_, wanted := payloads()
	index, byID := cut(t, wanted)
	broken := errors.New("the medium is gone")
	n := 0
	_, err := assemble.New(assemble.Options{Index: index, Digest: firmware.Sum(wanted), Target: &unsynced{newSlot(len(wanted)), broken, nil}}).Run(t.Context(), origin(byID, &n))
	if !errors.Is(err, broken) || errors.Is(err, firmware.ErrCorrupt) {
		t.Errorf("sync: %v", err)
	}
	_, err = assemble.New(assemble.Options{Index: index, Digest: firmware.Sum(wanted), Target: &unsynced{newSlot(len(wanted)), nil, broken}}).Run(t.Context(), origin(byID, &n))
	if !errors.Is(err, broken) || !errors.Is(err, firmware.ErrCorrupt) {
		t.Errorf("read back: %v", err)
	}
}

type unsynced struct {
	*slot
	sync, read error
}

func (u *unsynced) Sync() error { return u.sync }

func (u *unsynced) ReadAt(p []byte, off int64) (int, error) {
	if u.read != nil {
		return 0, u.read
	}
	return u.slot.ReadAt(p, off)
}

// TestMemoryIsAFewChunks counts every byte that is allocated while 48 MiB are assembled: it is not even the chunks of one
// worker more than once.
func TestMemoryIsAFewChunks(t *testing.T) {
	payload := noise(48<<20, 4)
	index, sum := whole(t, payload), firmware.Sum(payload)
	from, to := files(t, payload)
	if err := to.Truncate(int64(len(payload))); err != nil {
		t.Fatal(err)
	}
	a := assemble.New(assemble.Options{
		Index: index, Digest: sum, Target: to, Seeds: []firmware.Source{firmware.NewSeed(index, from)}, Workers: 1,
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stats, err := a.Run(t.Context(), nobody)
	runtime.ReadMemStats(&after)
	if err != nil || stats.Written != int64(len(payload)) {
		t.Fatalf("%+v, %v", stats, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

// whole cuts a payload as releases are cut.
func whole(b testing.TB, payload []byte) *firmware.Index {
	b.Helper()
	var chunks []firmware.Chunk
	if err := chunker.Split(bytes.NewReader(payload), chunker.Default(), func(p []byte) error {
		chunks = append(chunks, firmware.Chunk{ID: firmware.Sum(p), Size: uint32(len(p))})
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	return firmware.NewIndex(chunker.Default(), chunks)
}

// files returns a payload in a file, and one to write.
func files(b testing.TB, payload []byte) (from, to *os.File) {
	b.Helper()
	for i, f := range []**os.File{&from, &to} {
		var err error
		if *f, err = os.Create(filepath.Join(b.TempDir(), "payload")); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { (*f).Close() })
		if i == 0 {
			if _, err := (*f).Write(payload); err != nil {
				b.Fatal(err)
			}
		}
	}
	return from, to
}

// BenchmarkAssemble assembles from a seed file onto a file, verified: everything but the fetch. "fresh" writes all, "same"
// nothing. BenchmarkCopyAndHash is the least that copies and proves the same bytes.
func BenchmarkAssemble(b *testing.B) {
	payload := noise(128<<20, 7)
	index, sum := whole(b, payload), firmware.Sum(payload)
	from, to := files(b, payload)
	seed := firmware.NewSeed(index, from)
	for _, name := range []string{"fresh", "same"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				if name == "fresh" {
					b.StopTimer()
					if err := errors.Join(to.Truncate(0), to.Truncate(int64(len(payload)))); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				o := assemble.Options{Index: index, Digest: sum, Target: to, Seeds: []firmware.Source{seed}}
				if _, err := assemble.New(o).Run(b.Context(), nobody); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkProve reads back what is in place.
func BenchmarkProve(b *testing.B) {
	payload := noise(128<<20, 7)
	index, sum := whole(b, payload), firmware.Sum(payload)
	from, to := files(b, payload)
	a := assemble.New(assemble.Options{Index: index, Digest: sum, Target: to, Seeds: []firmware.Source{firmware.NewSeed(index, from)}})
	if _, err := a.Run(b.Context(), nobody); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, err := a.Run(b.Context(), nobody); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCopyAndHash(b *testing.B) {
	payload := noise(128<<20, 7)
	from, to := files(b, payload)
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		b.StopTimer()
		if err := to.Truncate(0); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		h := sha256.New()
		_, err := io.Copy(io.NewOffsetWriter(to, 0), io.NewSectionReader(from, 0, int64(len(payload))))
		_, err2 := io.Copy(h, io.NewSectionReader(to, 0, int64(len(payload))))
		if err := errors.Join(err, err2, to.Sync()); err != nil {
			b.Fatal(err)
		}
	}
}
