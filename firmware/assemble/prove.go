package assemble

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
)

// proveBlock is how much is read at a time to prove: enough for every medium, little for every device.
const proveBlock = 128 << 10

// proof is the digest of what the target holds from its beginning up to a place, read back after a sync.
type proof struct {
	whole hash.Hash
	at    int64
	err   error // it cannot be carried on
}

func newProof() *proof { return &proof{whole: sha256.New()} }

// prove reads the rest of the payload back from the medium. A chunk that did not stay is forgotten, so that another Run
// mends it.
func (a *Assembly) prove(ctx context.Context, p *proof) error {
	if err := a.o.Target.Sync(); err != nil {
		return fmt.Errorf("assemble: sync: %w", err)
	}
	if a.o.Digest.IsZero() {
		return a.proveChunks(ctx)
	}
	if p.err != nil {
		p = newProof() // reads all of it again, and finds the error if it is still there
	}
	err := a.extend(ctx, p, a.stats.Total)
	sum := firmware.Digest(p.whole.Sum(nil))
	if err == nil && sum == a.o.Digest {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if bad := a.proveChunks(ctx); bad != nil {
		return bad
	}
	return errors.Join(err, fmt.Errorf("assemble: the payload is %s where the manifest says %s: %w", sum, a.o.Digest, firmware.ErrCorrupt))
}

// extend carries a proof on to a place. One goroutine reads while another hashes.
func (a *Assembly) extend(ctx context.Context, p *proof, to int64) error {
	free, read := make(chan []byte, 2), make(chan []byte, 2)
	free <- make([]byte, proveBlock)
	free <- make([]byte, proveBlock)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(read)
		r := io.NewSectionReader(a.o.Target, p.at, to-p.at)
		for left := r.Size(); left > 0; {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := (<-free)[:min(left, proveBlock)]
			if _, err := io.ReadFull(r, b); err != nil {
				return fmt.Errorf("assemble: read back: %w: %w", firmware.ErrCorrupt, err)
			}
			left -= int64(len(b))
			read <- b
		}
		return nil
	})
	for b := range read {
		p.whole.Write(b)
		p.at += int64(len(b))
		free <- b[:proveBlock]
	}
	return g.Wait()
}

// wrote counts bytes that were written.
func (a *Assembly) wrote(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Written += n
	a.dirty += n
	a.nudge()
}

// nudge lets follow go on when it is worth it. The lock is held.
func (a *Assembly) nudge() {
	if front := a.front(); a.dirty >= syncEvery || front-a.synced >= syncEvery {
		a.dirty, a.synced = 0, front
		select {
		case a.due <- struct{}{}:
		default:
		}
	}
}

// front returns how much of the payload, from its beginning, is in place and will not be written again: whole pages. The
// lock is held.
func (a *Assembly) front() int64 {
	for a.whole < len(a.o.Index.Chunks) {
		if _, done := a.done[a.o.Index.Chunks[a.whole].ID]; !done {
			return a.o.Index.Span(a.whole).Offset / page * page
		}
		a.whole++
	}
	return a.stats.Total
}

// proveChunks hashes every chunk where it lies, forgets those that are not what they should be, and returns the first.
func (a *Assembly) proveChunks(ctx context.Context) error {
	var mu sync.Mutex
	first, bad := -1, error(nil)
	err := a.each(ctx, a.o.Workers, a.o.Index.Distinct(), func(_ context.Context, c firmware.Chunk) error {
		buf := a.buffers.take()
		defer a.buffers.give(buf)
		for _, i := range a.at[c.ID] {
			if err := a.read(buf[:c.Size], i); err != nil {
				a.forget(c.ID)
				mu.Lock()
				if first < 0 || i < first {
					first, bad = i, fmt.Errorf("read back: %w", err)
				}
				mu.Unlock()
				return nil
			}
		}
		return nil
	})
	return errors.Join(err, bad)
}
