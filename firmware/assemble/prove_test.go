package assemble_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
)

// counted counts what is read after a sync.
type counted struct {
	*slot
	read atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.slot.ReadAt(p, off)
	c.read.Add(int64(n))
	return n, err
}

func (c *counted) Sync() error {
	c.read.Store(0)
	return c.slot.Sync()
}

func TestProofReadsTheSlotOnce(t *testing.T) {
	_, wanted := payloads()
	index, byID := cut(t, wanted)
	target := &counted{slot: newSlot(len(wanted))}
	n := 0
	if _, err := assemble.New(assemble.Options{Index: index, Digest: firmware.Sum(wanted), Target: target}).Run(t.Context(), origin(byID, &n)); err != nil {
		t.Fatal(err)
	}
	if got := target.read.Load(); got != int64(len(wanted)) {
		t.Errorf("%d bytes were read to prove %d", got, len(wanted))
	}
}

// watched tells when a stretch of the target has been read in order, as only the proof does.
type watched struct {
	*slot
	at, until int64
	proven    chan struct{}
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.slot.ReadAt(p, off)
	w.mu.Lock()
	defer w.mu.Unlock()
	if off == w.at && len(p) >= 64<<10 { // larger than any chunk here
		if w.at += int64(n); w.at >= w.until && w.proven != nil {
			close(w.proven)
			w.proven = nil
		}
	}
	return n, err
}

// TestProofFollows holds the last chunk back until the beginning has been read back, and spoils a byte there meanwhile: it is
// found nevertheless, and mended by the next Run.
func TestProofFollows(t *testing.T) {
	wanted := noise(40<<20, 5)
	index, byID := cut(t, wanted)
	for _, rotten := range []int{-1, 3 << 20} {
		target := &watched{slot: newSlot(len(wanted)), until: 16 << 20, proven: make(chan struct{})}
		target.rotten = rotten
		proven := target.proven
		last := index.Chunks[len(index.Chunks)-1]
		delete(byID, last.ID)
		n := 0
		a := assemble.New(assemble.Options{Index: index, Digest: firmware.Sum(wanted), Target: target})
		_, err := a.Run(t.Context(), func(ctx context.Context, missing []firmware.Chunk, deliver assemble.Deliver) error {
			if err := origin(byID, &n)(ctx, missing[:len(missing)-1], deliver); err != nil {
				return err
			}
			select {
			case <-proven:
			case <-time.After(time.Minute):
				t.Error("nothing was proven before the end")
			}
			return deliver(wanted[len(wanted)-int(last.Size):], last.ID)
		})
		if rotten < 0 {
			if err != nil || !bytes.Equal(target.b, wanted) {
				t.Fatal(err)
			}
			continue
		}
		if !errors.Is(err, firmware.ErrCorrupt) {
			t.Fatalf("a byte that did not stay: %v", err)
		}
		if _, err := a.Run(t.Context(), origin(byID, &n)); err != nil || !bytes.Equal(target.b, wanted) {
			t.Fatal("mended:", err)
		}
	}
}
