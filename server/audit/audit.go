// Package audit keeps the trail of who did what. Entries are only ever added; reading begins with the newest.
//
// The key of an entry is its ULID turned over, every bit inverted, so that the store's one order, ascending, is newest
// first and a page token is simply a key.
package audit

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/waxwing-ota/waxwing/server/store"
)

// Name of the collection in the store.
const Name = "audit"

// Entry is one act.
type Entry struct {
	ID      string    `json:"id"` // ULID, set by Record
	At      time.Time `json:"at"` // set by Record when it is zero
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`  // "release.create"
	Subject string    `json:"subject"` // what it was done to: "edge-gw/1.1.0"
	Detail  string    `json:"detail,omitempty"`
}

// maxDetail bounds the free text of an entry, in bytes; what people type ends up there.
const maxDetail = 1 << 10

// Trail is the list of acts. It is safe for concurrent use.
type Trail struct {
	entries store.Collection[Entry]
	now     func() time.Time

	mu      sync.Mutex
	entropy *ulid.MonotonicEntropy // rises within a millisecond, so order is the order of Record
}

// New returns the trail of a store. now may be nil: the clock of the machine.
func New(s *store.Store, now func() time.Time) *Trail {
	if now == nil {
		now = time.Now
	}
	return &Trail{
		entries: store.NewCollection[Entry](s, Name), now: now,
		entropy: ulid.Monotonic(rand.Reader, 0),
	}
}

// Record adds an entry.
func (t *Trail) Record(ctx context.Context, e Entry) error {
	if e.At.IsZero() {
		e.At = t.now()
	}
	e.At = e.At.UTC()
	if len(e.Detail) > maxDetail {
		e.Detail = e.Detail[:maxDetail]
	}
	t.mu.Lock()
	id, err := ulid.New(ulid.Timestamp(e.At), t.entropy)
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("name an audit entry: %w", err)
	}
	e.ID = id.String()
	_, err = t.entries.Create(ctx, turned(id), e)
	return err
}

// List returns up to limit entries, newest first, after a token of an earlier call. next is empty at the end.
func (t *Trail) List(ctx context.Context, after string, limit int) (entries []Entry, next string, err error) {
	if after != "" {
		if _, err := ulid.ParseStrict(after); err != nil {
			return nil, "", fmt.Errorf("page token %q: %w", after, ErrToken)
		}
	}
	found, _, err := t.entries.List(ctx, store.Page{After: after, Limit: limit + 1})
	if err != nil {
		return nil, "", err
	}
	if len(found) > limit {
		found = found[:limit]
		next = found[limit-1].Key
	}
	for _, e := range found {
		entries = append(entries, e.Value)
	}
	return entries, next, nil
}

// ErrToken says that a page token was not one of List's.
var ErrToken = fmt.Errorf("not one that this server gave out")

func turned(id ulid.ULID) string {
	for i := range id {
		id[i] = ^id[i]
	}
	return id.String()
}
