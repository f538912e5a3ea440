// Package store keeps the state of the server in etcd: embedded by default, over a unix socket, or a cluster, through one
// client. Values are JSON documents in typed [Collection]s below one prefix.
//
//	devices := store.NewCollection[fleet.Device](s, "devices")
//	d, err := devices.Update(ctx, "d-1", func(d *fleet.Device) error { d.Labels["site"] = "oslo"; return nil })
//
// Every write is guarded by the revision that was read: Update reads, changes and writes until nobody came between.
// A [Batch] writes many documents in one transaction. Keys are names (firmware.CheckName) or names joined by "/".
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrConflict = errors.New("changed by somebody else; read it again")
)

// Store is a connection to etcd.
type Store struct {
	client *clientv3.Client
	prefix string
}

// New returns a store of the documents below prefix, "/waxwing/" as a rule.
func New(client *clientv3.Client, prefix string) *Store {
	return &Store{client: client, prefix: prefix}
}

// Client returns the etcd client, for elections and leases.
func (s *Store) Client() *clientv3.Client { return s.client }

// Entry is a document with its place and age.
type Entry[T any] struct {
	Key      string // without the collection
	Value    T
	Revision int64 // etcd revision of the last change
}

// Collection is the documents of one type below one name.
type Collection[T any] struct {
	store *Store
	name  string
	root  string
}

// NewCollection returns the documents below name.
func NewCollection[T any](s *Store, name string) Collection[T] {
	return Collection[T]{store: s, name: name, root: s.prefix + name + "/"}
}

// Get reads one document; the error matches ErrNotFound.
func (c Collection[T]) Get(ctx context.Context, key string) (Entry[T], error) {
	r, err := c.store.client.Get(ctx, c.root+key)
	if err != nil {
		return Entry[T]{}, fmt.Errorf("read %s %s: %w", c.name, key, err)
	}
	if len(r.Kvs) == 0 {
		return Entry[T]{}, fmt.Errorf("%s %s: %w", c.name, key, ErrNotFound)
	}
	return c.entry(r.Kvs[0])
}

// Create writes a document that must not exist; the error matches ErrExists.
func (c Collection[T]) Create(ctx context.Context, key string, v T) (Entry[T], error) {
	return c.putIf(ctx, key, v, 0, ErrExists)
}

// Replace writes a document that must still have the revision; the error matches ErrConflict.
func (c Collection[T]) Replace(ctx context.Context, key string, v T, revision int64) (Entry[T], error) {
	return c.putIf(ctx, key, v, revision, ErrConflict)
}

// Put writes a document whatever was there.
func (c Collection[T]) Put(ctx context.Context, key string, v T) error {
	b := NewBatch(c.store)
	if err := c.PutIn(b, key, v); err != nil {
		return err
	}
	return b.Commit(ctx)
}

// Update changes an existing document by a function that may run more than once. An error from change leaves the
// document as it was and is returned as it is.
func (c Collection[T]) Update(ctx context.Context, key string, change func(*T) error) (Entry[T], error) {
	for {
		e, err := c.Get(ctx, key)
		if err != nil {
			return e, err
		}
		if err := change(&e.Value); err != nil {
			return e, err
		}
		done, err := c.Replace(ctx, key, e.Value, e.Revision)
		if !errors.Is(err, ErrConflict) {
			return done, err
		}
	}
}

// Upsert is Update that starts from the zero value when there is no document.
func (c Collection[T]) Upsert(ctx context.Context, key string, change func(*T) error) (Entry[T], error) {
	for {
		var zero T
		e, err := c.Update(ctx, key, change)
		if !errors.Is(err, ErrNotFound) {
			return e, err
		}
		if err := change(&zero); err != nil {
			return e, err
		}
		if e, err = c.Create(ctx, key, zero); !errors.Is(err, ErrExists) {
			return e, err
		}
	}
}

// Delete removes a document; it is no error when there is none.
func (c Collection[T]) Delete(ctx context.Context, key string) error {
	if _, err := c.store.client.Delete(ctx, c.root+key); err != nil {
		return fmt.Errorf("delete %s %s: %w", c.name, key, err)
	}
	return nil
}

// maxRead bounds how many documents one answer of etcd holds, so that a long list is not one huge message.
const maxRead = 2000

// Page asks for a part of a collection.
type Page struct {
	Prefix string // of the keys
	After  string // key after which to begin, exclusive
	Limit  int    // 0: no limit
}

// List reads documents in the order of their keys, and the revision of the whole reading.
func (c Collection[T]) List(ctx context.Context, p Page) ([]Entry[T], int64, error) {
	from := c.root + p.Prefix
	end := clientv3.GetPrefixRangeEnd(from)
	if p.After != "" {
		from = c.root + p.After + "\x00"
	}
	entries := []Entry[T]{}
	var revision int64 // 0 reads the newest; the parts after the first are read at the revision of the first
	for {
		want := maxRead
		if p.Limit > 0 {
			want = min(want, p.Limit-len(entries))
		}
		r, err := c.store.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(int64(want)), clientv3.WithRev(revision))
		if err != nil {
			return nil, 0, fmt.Errorf("list %s: %w", c.name, err)
		}
		if revision == 0 {
			revision = r.Header.Revision
		}
		for _, kv := range r.Kvs {
			e, err := c.entry(kv)
			if err != nil {
				return nil, 0, err
			}
			entries = append(entries, e)
		}
		if !r.More || len(entries) == p.Limit {
			return entries, revision, nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
}

// Change is a document that changed; Deleted ones have only Key and Revision.
type Change[T any] struct {
	Entry[T]
	Deleted bool
}

// Watch calls on with each change after a revision (0: from now on), until ctx ends or etcd has forgotten the revision
// (the error then matches ErrCompacted). A document that cannot be read is skipped.
func (c Collection[T]) Watch(ctx context.Context, after int64, on func([]Change[T])) error {
	var opts []clientv3.OpOption
	if after > 0 {
		opts = append(opts, clientv3.WithRev(after+1))
	}
	opts = append(opts, clientv3.WithPrefix())
	for r := range c.store.client.Watch(clientv3.WithRequireLeader(ctx), c.root, opts...) {
		if r.CompactRevision != 0 {
			return fmt.Errorf("watch %s after %d: %w", c.name, after, ErrCompacted)
		}
		if err := r.Err(); err != nil {
			return fmt.Errorf("watch %s: %w", c.name, err)
		}
		changes := make([]Change[T], 0, len(r.Events))
		for _, ev := range r.Events {
			if ev.Type == clientv3.EventTypeDelete {
				key := strings.TrimPrefix(string(ev.Kv.Key), c.root)
				changes = append(changes, Change[T]{Entry: Entry[T]{Key: key, Revision: ev.Kv.ModRevision}, Deleted: true})
			} else if e, err := c.entry(ev.Kv); err == nil {
				changes = append(changes, Change[T]{Entry: e})
			}
		}
		if len(changes) > 0 {
			on(changes)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("watch %s: %w", c.name, ErrInterrupted)
}

// Errors of a watch.
var (
	// ErrCompacted says that a watch asked for a past that etcd no longer has.
	ErrCompacted = errors.New("revision is compacted; read everything again")
	// ErrInterrupted says that the connection ended under a watch.
	ErrInterrupted = errors.New("interrupted; read everything again")
)

func (c Collection[T]) putIf(ctx context.Context, key string, v T, revision int64, otherwise error) (Entry[T], error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Entry[T]{}, err
	}
	k := c.root + key
	r, err := c.store.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(k), "=", revision)).
		Then(clientv3.OpPut(k, string(b))).Commit()
	if err != nil {
		return Entry[T]{}, fmt.Errorf("write %s %s: %w", c.name, key, err)
	}
	if !r.Succeeded {
		return Entry[T]{}, fmt.Errorf("%s %s: %w", c.name, key, otherwise)
	}
	return Entry[T]{Key: key, Value: v, Revision: r.Header.Revision}, nil
}

func (c Collection[T]) entry(kv *mvccpb.KeyValue) (Entry[T], error) {
	e := Entry[T]{Key: strings.TrimPrefix(string(kv.Key), c.root), Revision: kv.ModRevision}
	if err := json.Unmarshal(kv.Value, &e.Value); err != nil {
		return e, fmt.Errorf("%s %s is damaged: %w", c.name, e.Key, err)
	}
	return e, nil
}
