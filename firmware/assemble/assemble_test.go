package assemble_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
	"github.com/waxwing-ota/waxwing/firmware/chunker"
	"github.com/waxwing-ota/waxwing/firmware/sourcetest"
)

// slot is a target in memory. Writes fail after a number of them, as when a device is killed, and one byte may refuse to
// stay.
type slot struct {
	mu     sync.Mutex
	b      []byte
	writes int // left; negative: no limit
	rotten int // offset of a byte that reads wrong once after each write; negative: none
}

var errKilled = errors.New("killed")

func (s *slot) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off >= int64(len(s.b)) {
		return 0, io.EOF
	}
	n := copy(p, s.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *slot) WriteAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes == 0 {
		half := len(p) / 2 // torn
		copy(s.b[off:], p[:half])
		return half, errKilled
	}
	s.writes--
	return copy(s.b[off:], p), nil
}

func (s *slot) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rotten >= 0 {
		s.b[s.rotten] ^= 1
		s.rotten = -1
	}
	return nil
}

func newSlot(n int) *slot { return &slot{b: make([]byte, n), writes: -1, rotten: -1} }

func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// cut returns an index of small chunks and the chunks by id.
func cut(t testing.TB, payload []byte) (*firmware.Index, map[firmware.ChunkID][]byte) {
	t.Helper()
	c := firmware.Chunking{Min: 1 << 10, Avg: 4 << 10, Max: 16 << 10}
	byID := map[firmware.ChunkID][]byte{}
	var chunks []firmware.Chunk
	if err := chunker.Split(bytes.NewReader(payload), c, func(p []byte) error {
		id := firmware.Sum(p)
		byID[id] = bytes.Clone(p)
		chunks = append(chunks, firmware.Chunk{ID: id, Size: uint32(len(p))})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return firmware.NewIndex(c, chunks), byID
}

// origin hands over everything and counts.
func origin(byID map[firmware.ChunkID][]byte, count *int) assemble.Fetch {
	return func(_ context.Context, missing []firmware.Chunk, deliver assemble.Deliver) error {
		for _, c := range missing {
			*count++
			if err := deliver(byID[c.ID], c.ID); err != nil {
				return err
			}
		}
		return nil
	}
}

func payloads() (old, wanted []byte) {
	old = noise(1<<20, 1)
	old = append(old, make([]byte, 256<<10)...) // repeated zero chunks
	wanted = bytes.Clone(old)
	copy(wanted[300<<10:], noise(20<<10, 2))
	return old, append(wanted, noise(30<<10, 3)...)
}

func TestReusesSeedAndFetchesTheRest(t *testing.T) {
	old, wanted := payloads()
	oldIndex, _ := cut(t, old)
	index, byID := cut(t, wanted)
	target := newSlot(len(wanted) + 100)
	fetched := 0
	a := assemble.New(assemble.Options{
		Index: index, Digest: firmware.Sum(wanted), Target: target,
		Seeds: []firmware.Source{firmware.NewSeed(oldIndex, bytes.NewReader(old))},
	})
	stats, err := a.Run(t.Context(), origin(byID, &fetched))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(target.b[:len(wanted)], wanted) {
		t.Fatal("the payload differs")
	}
	if stats.Done != stats.Total || stats.Reused+stats.Fetched != stats.Total || stats.Fetched > 120<<10 || fetched == 0 {
		t.Fatalf("%+v, %d fetched", stats, fetched)
	}
	var all [][]byte
	for _, p := range byID {
		all = append(all, p)
	}
	sourcetest.Run(t, a, all)
	sourcetest.Run(t, firmware.NewSeed(index, bytes.NewReader(wanted)), all)
}

// TestKilledAtEveryWrite cuts the assembly at each of its writes, with one worker and with several, into a fresh slot and
// into one that holds another image. The next one ends byte-identical and asks for nothing that had been written whole.
func TestKilledAtEveryWrite(t *testing.T) {
	old, wanted := payloads()
	oldIndex, _ := cut(t, old)
	index, byID := cut(t, wanted)
	other := append(noise(200<<10, 9), old...) // its chunks are here, but in other places
	for _, c := range []struct {
		name    string
		workers int
		holds   []byte
	}{{"fresh, one worker", 1, nil}, {"fresh, several", 4, nil}, {"another image, several", 4, other}} {
		t.Run(c.name, func(t *testing.T) {
			for cutAt := 0; ; cutAt++ {
				target := newSlot(len(wanted))
				copy(target.b, c.holds)
				target.writes = cutAt
				run := func() (int, error) {
					n := 0
					_, err := assemble.New(assemble.Options{
						Index: index, Digest: firmware.Sum(wanted), Target: target, Workers: c.workers,
						Seeds: []firmware.Source{firmware.NewSeed(oldIndex, bytes.NewReader(old))},
					}).Run(t.Context(), origin(byID, &n))
					return n, err
				}
				first, err := run()
				if err == nil {
					if cutAt < 10 {
						t.Fatalf("only %d writes", cutAt)
					}
					return
				}
				if !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				target.writes = -1
				second, err := run()
				if err != nil || !bytes.Equal(target.b, wanted) {
					t.Fatalf("cut at %d: %v", cutAt, err)
				}
				// One chunk was being written when it was killed; the seed's own workers may have been at it.
				if total := len(firmware.MakePlan(index, firmware.NewSeed(oldIndex, nil).Has).Missing); second > total-first+1 {
					t.Fatalf("cut at %d after %d: fetched %d more of %d", cutAt, first, second, total)
				}
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	_, wanted := payloads()
	index, byID := cut(t, wanted)
	n := 0
	good := origin(byID, &n)
	fresh := func(target *slot, digest firmware.Digest, seeds ...firmware.Source) *assemble.Assembly {
		return assemble.New(assemble.Options{Index: index, Digest: digest, Target: target, Seeds: seeds})
	}
	t.Run("a wrong chunk", func(t *testing.T) {
		target := newSlot(len(wanted))
		_, err := fresh(target, firmware.Sum(wanted)).Run(t.Context(), func(_ context.Context, m []firmware.Chunk, deliver assemble.Deliver) error {
			return deliver([]byte("poison"), m[0].ID)
		})
		if !errors.Is(err, firmware.ErrCorrupt) || bytes.Contains(target.b, []byte("poison")) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("a chunk that nobody asked for", func(t *testing.T) {
		_, err := fresh(newSlot(len(wanted)), firmware.Sum(wanted)).Run(t.Context(), func(_ context.Context, _ []firmware.Chunk, deliver assemble.Deliver) error {
			return deliver([]byte("x"), firmware.Sum([]byte("x")))
		})
		if !errors.Is(err, firmware.ErrNotFound) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("nobody hands over", func(t *testing.T) {
		_, err := fresh(newSlot(len(wanted)), firmware.Sum(wanted)).Run(t.Context(), func(context.Context, []firmware.Chunk, assemble.Deliver) error { return nil })
		if !errors.Is(err, firmware.ErrNotFound) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("another payload than the manifest says", func(t *testing.T) {
		_, err := fresh(newSlot(len(wanted)), firmware.Sum([]byte("other"))).Run(t.Context(), good)
		if !errors.Is(err, firmware.ErrCorrupt) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("a medium that does not keep a byte, and mends", func(t *testing.T) {
		target := newSlot(len(wanted))
		target.rotten = len(wanted) / 2
		a := fresh(target, firmware.Sum(wanted))
		if _, err := a.Run(t.Context(), good); !errors.Is(err, firmware.ErrCorrupt) {
			t.Fatalf("%v", err)
		}
		if _, err := a.Run(t.Context(), good); err != nil || !bytes.Equal(target.b, wanted) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("a seed that has rotted", func(t *testing.T) {
		rotten := bytes.Clone(wanted)
		for i := 0; i < len(rotten); i += 50 << 10 {
			rotten[i] ^= 1
		}
		target := newSlot(len(wanted))
		stats, err := fresh(target, firmware.Sum(wanted), firmware.NewSeed(index, bytes.NewReader(rotten))).Run(t.Context(), good)
		if err != nil || !bytes.Equal(target.b, wanted) || stats.Fetched == 0 || stats.Reused == 0 {
			t.Fatalf("%+v, %v", stats, err)
		}
	})
}
