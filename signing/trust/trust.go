package trust

import (
	"context"
	"errors"
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
	Near func(ctx context.Context, sum firmware.Digest, limit int64) ([]byte, error)
	Now  func() time.Time // nil: time.Now
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

// now is the time that expiry is judged by.
func (t *Trust) now() time.Time {
	now := t.o.Now().UTC()
	if now.Before(t.rec.Floor) {
		return t.rec.Floor
	}
	return now
}

// update changes the record by a function and stores it. When either fails, memory keeps what the disk has.
func (t *Trust) update(change func(*record) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := *t.rec
	next.Roots = slices.Clone(next.Roots)
	next.Roles, next.Envelopes = copied(next.Roles), copied(next.Envelopes)
	next.Seen, next.Counters = copied(next.Seen), copied(next.Counters)
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

const membership = "membership" // the key of the membership among envelopes

// maxClockStep bounds how far one signed time may move the floor of the clock.
const maxClockStep = 400 * 24 * time.Hour

// Accept takes an envelope, verifies it and remembers it before it returns. It reports whether anything changed: the same
// envelope again does not. Errors match ErrUntrusted, ErrAudience, ErrRollback (an older one), ErrEquivocation,
// ErrExpired. An ErrUntrusted may mean that this device has not seen the newest policy keys: Refresh and try again.
func (t *Trust) Accept(envelope []byte) (changed bool, err error) {
	t.mu.Lock()
	keys, err := policy.ParseKeys(t.rec.PolicyKeys)
	now := t.now()
	t.mu.Unlock()
	if err != nil {
		return false, fmt.Errorf("no policy keys yet: %w", ErrUntrusted)
	}
	document, err := policy.Open(envelope, keys)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	var key string
	var seq uint64
	var issued, expires time.Time
	switch d := document.(type) {
	case *policy.Policy:
		if d.Audience.Kind == policy.ForDevice && d.Audience.Name != t.o.Device {
			return false, fmt.Errorf("policy for %s: %w", d.Audience, ErrAudience)
		}
		key, seq, issued, expires = d.Audience.String(), d.Seq, d.IssuedAt, d.ExpiresAt
	case *policy.Membership:
		if d.Device != t.o.Device {
			return false, fmt.Errorf("membership of %s: %w", d.Device, ErrAudience)
		}
		key, seq, issued, expires = membership, d.Seq, d.IssuedAt, d.ExpiresAt
	}
	if !now.Before(expires) {
		return false, fmt.Errorf("%s %d ended at %s: %w", key, seq, expires.Format(time.RFC3339), ErrExpired)
	}
	sum := firmware.Sum(envelope)
	err = t.update(func(r *record) error {
		seen := r.Seen[key]
		switch {
		case seq < seen.Seq:
			return fmt.Errorf("%s %d after %d: %w", key, seq, seen.Seq, ErrRollback)
		case seq == seen.Seq && sum == seen.SHA256:
			return errUnchanged
		case seq == seen.Seq:
			return fmt.Errorf("%s %d: %w", key, seq, ErrEquivocation)
		}
		r.Envelopes[key], r.Seen[key] = envelope, mark{Seq: seq, SHA256: sum}
		if issued.After(r.Floor) && (r.Floor.IsZero() || issued.Sub(r.Floor) < maxClockStep) {
			r.Floor = issued
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return false, nil
	}
	return err == nil, err
}

var errUnchanged = errors.New("unchanged")

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

// Commit raises the counter of a product, after a release of it has proven itself; it never lowers it.
func (t *Trust) Commit(product string, counter uint64) error {
	return t.update(func(r *record) error {
		r.Counters[product] = max(r.Counters[product], counter)
		return nil
	})
}

// Counter returns the committed counter of a product; 0: none.
func (t *Trust) Counter(product string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rec.Counters[product]
}
