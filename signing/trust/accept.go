package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

const (
	membership = "membership" // the key of the membership among envelopes
	// maxUnlisted bounds the policies that are kept before a membership says which groups are this device's.
	maxUnlisted = 64
)

// claim is what of a document is held against memory.
type claim struct {
	key             string // of what is remembered
	seq             uint64
	issued, expires time.Time
	policy          *policy.Policy     // or
	member          *policy.Membership //
}

var errUnchanged = errors.New("unchanged")

// Accept takes an envelope, verifies it and remembers it before it returns. It reports whether anything changed: the same
// envelope again does not. Errors match ErrUntrusted, ErrAudience, ErrRollback (an older one), ErrEquivocation,
// ErrExpired, ErrLife. An ErrUntrusted may mean that this device has not seen the newest policy keys, above all when it
// matches ErrStale: Refresh and try again.
func (t *Trust) Accept(envelope []byte) (changed bool, err error) {
	t.mu.Lock()
	known := false
	for _, e := range t.rec.Envelopes {
		known = known || bytes.Equal(e, envelope)
	}
	keys, err := policy.ParseKeys(t.rec.PolicyKeys)
	now, alive := t.now(), t.rec.Alive
	t.mu.Unlock()
	if known { // it was verified, and is again whenever it is followed
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("no policy keys yet: %w", ErrUntrusted)
	}
	document, err := policy.Open(envelope, keys)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	c, err := t.claim(document)
	if err != nil {
		return false, err
	}
	if err := c.judge(keys, now, alive); err != nil {
		return false, err
	}
	// What is signed is compared, not its envelope: that may be written in many ways.
	signed, err := json.Marshal(document)
	if err != nil {
		return false, err
	}
	err = t.update(func(r *record) error { return t.remember(r, c, keys, envelope, firmware.Sum(signed)) })
	if errors.Is(err, errUnchanged) {
		return false, nil
	}
	return err == nil, err
}

// claim refuses what is meant for another device.
func (t *Trust) claim(document any) (c claim, err error) {
	switch d := document.(type) {
	case *policy.Policy:
		if t.o.Device == "" || d.Audience.Kind == policy.ForDevice && d.Audience.Name != t.o.Device {
			return c, fmt.Errorf("policy for %s: %w", d.Audience, ErrAudience)
		}
		return claim{d.Audience.String(), d.Seq, d.IssuedAt, d.ExpiresAt, d, nil}, nil
	case *policy.Membership:
		if d.Device != t.o.Device {
			return c, fmt.Errorf("membership of %s: %w", d.Device, ErrAudience)
		}
		return claim{membership, d.Seq, d.IssuedAt, d.ExpiresAt, nil, d}, nil
	}
	return c, fmt.Errorf("a %T: %w", document, ErrUntrusted)
}

// judge looks at the times. Whoever wants something installed must have signed while the release plane stands, as it is known
// here: the keys of a device that has slept may have been revoked since. To stop, any key is good enough.
func (c claim) judge(keys *policy.Keys, now, alive time.Time) error {
	switch {
	case !now.Before(c.expires):
		return fmt.Errorf("%s %d ended at %s: %w", c.key, c.seq, c.expires.Format(time.RFC3339), ErrExpired)
	case c.policy == nil:
		return nil
	case !keys.Allows(c.issued, c.expires):
		return fmt.Errorf("%s %d lives for %s, over %d days: %w", c.key, c.seq, c.expires.Sub(c.issued), keys.MaxDays, ErrLife)
	case c.policy.Action == policy.Install && !later(now, c.issued).Before(alive):
		return fmt.Errorf("%s %d of %s, and the repository as it is known here ends at %s: %w: %w", c.key, c.seq,
			c.issued.Format(time.RFC3339), alive.Format(time.RFC3339), ErrStale, ErrUntrusted)
	}
	return nil
}

// remember compares with what was seen and changes the record.
func (t *Trust) remember(r *record, c claim, keys *policy.Keys, envelope []byte, sum firmware.Digest) error {
	if c.policy != nil && c.policy.Audience.Kind == policy.ForGroup {
		m := memberOf(r, keys)
		switch {
		case m != nil && !c.policy.Audience.Addresses(t.o.Device, m):
			return fmt.Errorf("policy for %s, which this device is not in: %w", c.policy.Audience, ErrAudience)
		case m == nil && len(r.Envelopes) >= maxUnlisted:
			return fmt.Errorf("policy for %s: no membership yet, and %d policies wait for it: %w", c.policy.Audience, len(r.Envelopes), ErrAudience)
		}
	}
	seen := r.Seen[c.key]
	switch {
	case c.seq < seen.Seq:
		return fmt.Errorf("%s %d after %d: %w", c.key, c.seq, seen.Seq, ErrRollback)
	case c.seq == seen.Seq && sum != seen.SHA256:
		return fmt.Errorf("%s %d: %w", c.key, c.seq, ErrEquivocation)
	case c.seq == seen.Seq && r.Envelopes[c.key] != nil:
		return errUnchanged
	}
	r.Envelopes[c.key], r.Seen[c.key] = envelope, mark{Seq: c.seq, SHA256: sum}
	if c.member != nil {
		for key := range r.Envelopes { // what is not for this device any more
			if group, ok := strings.CutPrefix(key, string(policy.ForGroup)+"/"); ok &&
				!(policy.Audience{Kind: policy.ForGroup, Name: group}).Addresses(t.o.Device, c.member) {
				delete(r.Envelopes, key)
			}
		}
	}
	r.heard(c.issued)
	return nil
}

// memberOf opens the membership of a record; nil: there is none by a key that is trusted now.
func memberOf(r *record, keys *policy.Keys) *policy.Membership {
	document, err := policy.Open(r.Envelopes[membership], keys)
	m, ok := document.(*policy.Membership)
	if err != nil || !ok {
		return nil
	}
	return m
}

// hearAgain moves the floor to the times of what was accepted, once the release plane is known to stand for longer.
func hearAgain(r *record) {
	keys, err := policy.ParseKeys(r.PolicyKeys)
	if err != nil {
		return
	}
	for _, e := range r.Envelopes {
		switch d, _ := policy.Open(e, keys); d := d.(type) {
		case *policy.Policy:
			r.heard(d.IssuedAt)
		case *policy.Membership:
			r.heard(d.IssuedAt)
		}
	}
}
