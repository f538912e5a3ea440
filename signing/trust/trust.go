package trust

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// Fetcher reads the repository.
type Fetcher interface {
	// Fetch returns the file at a path such as "metadata/timestamp.json". It returns at most limit bytes or an error; the
	// error for a file that is not there matches ErrNotFound.
	Fetch(ctx context.Context, path string, limit int64) ([]byte, error)
}

// Options configure Open.
type Options struct {
	Dir      string  // of the store; made when missing
	Root     []byte  // the root.json that came with the device
	Device   string  // this device's id; empty: nobody's, no policy is accepted
	Hardware string  // this device's hardware id; empty: any release fits
	Fetch    Fetcher //
	// Near asks others for the content with a digest that a verified document gives, at most limit bytes, before the repository
	// is asked. Nothing of it is believed. Nil: nobody is asked.
	Near  func(ctx context.Context, sum firmware.Digest, limit int64) ([]byte, error)
	Now   func() time.Time // nil: time.Now
	Built time.Time        // when the program or image was made: no time before it is believed; zero: unknown
}

// Trust is a device's judgement. It is safe for concurrent use; Refresh and the fetching methods wait for each other.
type Trust struct {
	o Options

	net  sync.Mutex // one conversation with the repository at a time
	mu   sync.Mutex // guards pair and rec
	pair *atomicfile.Pair
	rec  *record
	docs map[firmware.Digest][]byte // metadata that others may have: of rec, and of a refresh that is under way
}

// Open reads what is remembered, or begins with the given root. When both files of the store are damaged it begins anew
// too, and says so with an error that matches ErrRollback beside a usable Trust: sequence numbers and counters are lost.
func Open(o Options) (*Trust, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, objectsDir), 0o700); err != nil {
		return nil, fmt.Errorf("open trust: %w", err)
	}
	pair, rec, lost, err := remember(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open trust: %w", err)
	}
	if rec.Roots, err = chain(o.Root, rec.Roots); err != nil {
		return nil, fmt.Errorf("open trust: %w", err)
	}
	t := &Trust{o: o, pair: pair, rec: rec, docs: documents(rec, nil)}
	if lost {
		return t, fmt.Errorf("open trust: both records in %s are damaged; sequence numbers and counters start anew: %w",
			o.Dir, ErrRollback)
	}
	return t, nil
}

// update changes the record by a function and stores it. When either fails, memory keeps what the disk has.
func (t *Trust) update(change func(*record) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := *t.rec
	next.Roots = slices.Clone(next.Roots)
	next.Roles, next.Envelopes = copied(next.Roles), copied(next.Envelopes)
	next.Seen, next.Counters = copied(next.Seen), copied(next.Counters)
	next.Granted, next.Spent = copied(next.Granted), copied(next.Spent)
	if err := change(&next); err != nil {
		return err
	}
	if err := next.save(t.pair); err != nil {
		return err
	}
	t.rec, t.docs = &next, documents(&next, t.docs)
	return nil
}

func copied[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

// Desired returns the policy to follow now, or nil. It opens what was accepted with the keys that are trusted now, so a
// revoked key's policies vanish with the Refresh that learns of it; expired ones count no more.
func (t *Trust) Desired() *policy.Policy {
	member, policies := t.inForce()
	return policy.Desired(t.o.Device, member, policies)
}

// Applying returns all policies that are for this device or one of its groups now, the desired one first: what a depot
// keeps for those beside it, whichever cohort has begun.
func (t *Trust) Applying() []*policy.Policy {
	member, policies := t.inForce()
	return policy.Applying(t.o.Device, member, policies)
}

// inForce opens what was accepted and has not ended.
func (t *Trust) inForce() (member *policy.Membership, policies []*policy.Policy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys, err := policy.ParseKeys(t.rec.PolicyKeys)
	if err != nil {
		return nil, nil
	}
	now := t.now()
	for _, e := range t.rec.Envelopes {
		document, err := policy.Open(e, keys)
		if err != nil {
			continue
		}
		switch d := document.(type) {
		case *policy.Policy:
			if now.Before(d.ExpiresAt) {
				policies = append(policies, d)
			}
		case *policy.Membership:
			if now.Before(d.ExpiresAt) {
				member = d
			}
		}
	}
	return member, policies
}

// Groups returns the groups that the accepted membership names: the topics to listen to.
func (t *Trust) Groups() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys, err := policy.ParseKeys(t.rec.PolicyKeys)
	if err != nil {
		return nil
	}
	document, err := policy.Open(t.rec.Envelopes[membership], keys)
	m, ok := document.(*policy.Membership)
	if err != nil || !ok {
		return nil
	}
	return m.Groups
}

// Counter returns the committed counter of a product; 0: none.
func (t *Trust) Counter(product string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rec.Counters[product]
}
