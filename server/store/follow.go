package store

import (
	"context"
	"time"
)

// retry is how long Follow waits before it reads everything again after the watch broke.
const retry = 250 * time.Millisecond

// Follow keeps a copy of a collection up to date until ctx ends. It watches after the given revision, that of the
// listing that the caller already has (0: it lists first). When the watch breaks (etcd lost its leader, or forgot the
// revision) it lists again and calls reset with everything there is; otherwise it calls on with what changed. Both are
// called from one goroutine, in the order of revisions.
func (c Collection[T]) Follow(ctx context.Context, after int64, reset func([]Entry[T], int64), on func([]Change[T])) error {
	for {
		if after > 0 {
			if err := c.Watch(ctx, after, on); ctx.Err() != nil {
				return err
			}
		}
		entries, revision, err := c.List(ctx, Page{})
		if err == nil {
			reset(entries, revision)
			after = revision
			continue
		}
		after = 0
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
}
