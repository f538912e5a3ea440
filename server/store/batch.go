package store

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxOps is how many operations etcd takes in one transaction by default.
const maxOps = 128

// Batch is writes that happen together: up to 128 in one transaction, all guarded by the same conditions. A larger batch
// is several transactions in order; guard only small ones.
type Batch struct {
	store *Store
	ifs   []clientv3.Cmp
	ops   []clientv3.Op
}

// NewBatch returns an empty batch.
func NewBatch(s *Store) *Batch { return &Batch{store: s} }

// PutIn adds a write to a batch.
func (c Collection[T]) PutIn(b *Batch, key string, v T) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s %s: %w", c.name, key, err)
	}
	b.ops = append(b.ops, clientv3.OpPut(c.root+key, string(doc)))
	return nil
}

// DeleteIn adds a removal to a batch.
func (c Collection[T]) DeleteIn(b *Batch, key string) {
	b.ops = append(b.ops, clientv3.OpDelete(c.root+key))
}

// UnchangedIn makes the batch fail with ErrConflict unless the document still has this revision (0: does not exist).
func (c Collection[T]) UnchangedIn(b *Batch, key string, revision int64) {
	b.ifs = append(b.ifs, clientv3.Compare(clientv3.ModRevision(c.root+key), "=", revision))
}

// Commit writes the batch. An empty batch is no work.
func (b *Batch) Commit(ctx context.Context) error {
	for at := 0; at < len(b.ops); at += maxOps {
		part := b.ops[at:min(at+maxOps, len(b.ops))]
		r, err := b.store.client.Txn(ctx).If(b.ifs...).Then(part...).Commit()
		if err != nil {
			return fmt.Errorf("write %d documents: %w", len(part), err)
		}
		if !r.Succeeded {
			return ErrConflict
		}
	}
	return nil
}
