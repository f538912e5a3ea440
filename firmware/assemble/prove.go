package assemble

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
)

// proveBlock is how much is read at a time to prove: enough for every medium, little for every device.
const proveBlock = 256 << 10

// prove reads the payload back from the medium. A chunk that did not stay is forgotten, so that another Run mends it.
func (a *Assembly) prove(ctx context.Context) error {
	if err := a.o.Target.Sync(); err != nil {
		return fmt.Errorf("assemble: sync: %w", err)
	}
	if a.o.Digest.IsZero() {
		return a.proveChunks(ctx)
	}
	sum, err := a.digest(ctx)
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

// digest returns the digest of what the target holds. One goroutine reads while another hashes.
func (a *Assembly) digest(ctx context.Context) (sum firmware.Digest, err error) {
	free, read := make(chan []byte, 2), make(chan []byte, 2)
	free <- make([]byte, proveBlock)
	free <- make([]byte, proveBlock)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(read)
		r := io.NewSectionReader(a.o.Target, 0, a.stats.Total)
		for left := a.stats.Total; left > 0; {
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
	whole := sha256.New()
	for b := range read {
		whole.Write(b)
		free <- b[:proveBlock]
	}
	err = g.Wait()
	whole.Sum(sum[:0])
	return sum, err
}

// proveChunks hashes every chunk where it lies, forgets those that are not what they should be, and returns the first.
func (a *Assembly) proveChunks(ctx context.Context) error {
	var mu sync.Mutex
	first, bad := -1, error(nil)
	err := a.each(ctx, a.o.Index.Distinct(), func(_ context.Context, c firmware.Chunk) error {
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
