package blob

import (
	"context"
	"io"
)

// Batch puts many blobs for less than one Put each costs. None of them need be there before Commit has returned, and
// then all are, as durable as after Put. It is safe for concurrent use.
type Batch interface {
	// Put takes a blob. The reader may be reused when it returns.
	Put(ctx context.Context, key string, r io.Reader, size int64) error
	// Commit makes durable and visible what was put before it was called, and the batch takes more. After an error the
	// same blobs are there in part, each whole, and are to be put again.
	Commit(ctx context.Context) error
	// Close forgets what was not committed. A batch is always closed.
	io.Closer
}

// Batcher is a Store for which durability is dear and can be had for many blobs at once.
type Batcher interface {
	Batch() Batch
}

// NewBatch returns a batch of any store: its own, or one that puts at once.
func NewBatch(s Store) Batch {
	if b, ok := s.(Batcher); ok {
		return b.Batch()
	}
	return direct{s}
}

// direct is a batch of a store that has none.
type direct struct{ Store }

// Commit implements Batch: every Put was durable when it returned.
func (direct) Commit(context.Context) error { return nil }

// Close implements Batch.
func (direct) Close() error { return nil }
