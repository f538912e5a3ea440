package store

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// What etcd takes in one transaction by default, with room for the keys and the frame.
const (
	maxOps   = 128
	maxBytes = 1 << 20
)

// Batch is writes that happen together: up to 128, or a megabyte, in one transaction, all guarded by the same conditions.
// A larger batch is several transactions in order; guard only small ones. A key may appear once.
type Batch struct {
	store *Store
	ifs   []clientv3.Cmp
	ops   []clientv3.Op
	sizes []int // of the documents in ops
}

// NewBatch returns an empty batch.
func NewBatch(s *Store) *Batch { return &Batch{store: s} }

// PutIn adds a write to a batch.
func (c Collection[T]) PutIn(b *Batch, key string, v T) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s %s: %w", c.name, key, err)
	}
	b.add(clientv3.OpPut(c.root+key, string(doc)), len(doc))
	return nil
}

// DeleteIn adds a removal to a batch.
func (c Collection[T]) DeleteIn(b *Batch, key string) {
	b.add(clientv3.OpDelete(c.root+key), 0)
}

// UnchangedIn makes the batch fail with ErrConflict unless the document still has this revision (0: does not exist).
func (c Collection[T]) UnchangedIn(b *Batch, key string, revision int64) {
	b.ifs = append(b.ifs, clientv3.Compare(clientv3.ModRevision(c.root+key), "=", revision))
}

// Commit writes the batch. An empty batch is no work.
func (b *Batch) Commit(ctx context.Context) error {
	_, err := b.CommitAt(ctx)
	return err
}

// CommitAt is Commit that also returns the revision of the last transaction, which all documents of a batch of one
// transaction then have.
func (b *Batch) CommitAt(ctx context.Context) (revision int64, err error) {
	for at := 0; at < len(b.ops); {
		part := b.part(at)
		r, err := b.store.client.Txn(ctx).If(b.ifs...).Then(part...).Commit()
		if err != nil {
			return 0, fmt.Errorf("write %d documents: %w", len(part), err)
		}
		if !r.Succeeded {
			return 0, ErrConflict
		}
		revision = r.Header.Revision
		at += len(part)
	}
	return revision, nil
}

// part returns the operations from at that fit into one transaction: at least one.
func (b *Batch) part(at int) []clientv3.Op {
	end, bytes := at+1, b.sizes[at]
	for end < len(b.ops) && end-at < maxOps && bytes+b.sizes[end] <= maxBytes {
		bytes += b.sizes[end]
		end++
	}
	return b.ops[at:end]
}

func (b *Batch) add(op clientv3.Op, size int) {
	b.ops, b.sizes = append(b.ops, op), append(b.sizes, size)
}
