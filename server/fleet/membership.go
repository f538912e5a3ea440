package fleet

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

const (
	// MembershipLife is how long a signed membership holds. A device that hears nothing for longer starts no update.
	MembershipLife = 30 * 24 * time.Hour
	// renewCheck is how often the fleet looks for memberships that grow old.
	renewCheck = time.Hour
)

// told is the membership that a device was last told.
type told struct {
	groups   []string
	seq      uint64
	issued   time.Time
	revision int64 // of the document; 0: none
}

// current reports whether a device has been told the truth, and recently. Memberships that were made together grow old
// at different times, between a third and a half of their life, so that they are not all signed anew at once.
func (r *record) current(now time.Time) bool {
	if r.told.seq == 0 {
		return r.Admission != Accepted // who was never let in need not be told that they are out
	}
	if !slices.Equal(r.told.groups, r.groups) {
		return false
	}
	spread := time.Duration(policy.Draw("membership", r.ID)) * (MembershipLife / 6) / policy.Everyone
	return now.Before(r.told.issued.Add(MembershipLife/3 + spread))
}

// pump hands the changes of a feed to a channel until ctx ends.
func pump(ctx context.Context, feed *Feed, to chan<- []string) error {
	for {
		ids, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		select {
		case to <- ids:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keepMemberships signs a membership for each device whose groups changed and for each that grows old.
func (f *Fleet) keepMemberships(ctx context.Context, changes <-chan []string) error {
	tick := time.NewTicker(renewCheck)
	defer tick.Stop()
	again := time.NewTimer(0) // at the start all devices are looked at
	defer again.Stop()
	for {
		var ids []string
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ids = <-changes:
		case <-tick.C:
			ids = f.ids()
		case <-again.C:
			ids = f.ids()
		}
		if err := f.signMemberships(ctx, ids); err != nil && ctx.Err() == nil {
			f.log.Warn("memberships could not be stored; trying again", "error", err)
			again.Reset(time.Second)
		}
	}
}

func (f *Fleet) signMemberships(ctx context.Context, ids []string) error {
	for part := range slices.Chunk(ids, maxBatch/2) {
		if err := f.signSome(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// signSome writes the memberships of some devices in one transaction, guarded by the documents that were read: another
// server on the same store may have been quicker, and then nothing is left to do once its documents are seen.
func (f *Fleet) signSome(ctx context.Context, ids []string) error {
	now := f.now().UTC().Truncate(time.Second)
	wanted := map[string]*policy.Membership{}
	f.mirror.mu.RLock()
	for _, id := range ids {
		if r := f.mirror.known(id); r != nil && !r.current(now) {
			wanted[id] = &policy.Membership{
				Schema: 1, Device: id, Groups: slices.Clone(r.groups),
				// Seconds since 1970 are above whatever was told before a restore of the store from a backup.
				Seq:      max(r.told.seq+1, uint64(now.Unix())),
				IssuedAt: now, ExpiresAt: now.Add(MembershipLife),
			}
		}
	}
	f.mirror.mu.RUnlock()
	if len(wanted) == 0 {
		return nil
	}
	b := store.NewBatch(f.store)
	written := make([]store.Entry[protocol.Documents], 0, len(wanted))
	for id, m := range wanted {
		e, err := f.documents.Get(ctx, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if old, err := openMembership(e.Value.Membership); err == nil && old.Seq >= m.Seq {
			m.Seq = old.Seq + 1
		}
		envelope, err := policy.Seal(m, f.signer)
		if err != nil {
			return fmt.Errorf("membership of %s: %w", id, err)
		}
		e.Value.Membership = envelope
		f.documents.UnchangedIn(b, id, e.Revision)
		if err := f.documents.PutIn(b, id, e.Value); err != nil {
			return err
		}
		e.Key = id
		written = append(written, e)
	}
	revision, err := b.CommitAt(ctx)
	if err != nil {
		return err
	}
	for i := range written {
		written[i].Revision = revision
	}
	f.noteDocuments(written)
	return nil
}

func (f *Fleet) resetDocuments(all []store.Entry[protocol.Documents], _ int64) { f.noteDocuments(all) }

// noteDocuments remembers what devices were told.
func (f *Fleet) noteDocuments(entries []store.Entry[protocol.Documents]) {
	for _, e := range entries {
		m, err := openMembership(e.Value.Membership)
		if err != nil {
			continue // a document of other content, or damaged: it is written anew
		}
		f.mirror.mu.Lock()
		if r := f.mirror.record(e.Key); r.told.revision < e.Revision {
			groups := slices.Clone(m.Groups)
			r.told = told{groups: groups, seq: m.Seq, issued: m.IssuedAt, revision: e.Revision}
		}
		f.mirror.mu.Unlock()
	}
}

// openMembership reads our own envelope; the store is trusted to give back what was put in.
func openMembership(envelope []byte) (*policy.Membership, error) {
	var e struct {
		Payload string `json:"payload"`
	}
	if err := json.Unmarshal(envelope, &e); err != nil {
		return nil, err
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		return nil, err
	}
	m := new(policy.Membership)
	return m, json.Unmarshal(payload, m)
}

// Documents returns all that a device is told: its membership, its own policies, and those of its groups.
func (f *Fleet) Documents(ctx context.Context, device string) (protocol.Documents, error) {
	e, err := f.documents.Get(ctx, device)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return protocol.Documents{}, err
	}
	d := e.Value
	f.mirror.mu.RLock()
	defer f.mirror.mu.RUnlock()
	r := f.mirror.known(device)
	if r == nil {
		return protocol.Documents{}, fmt.Errorf("%w: %s", ErrUnknown, device)
	}
	for _, g := range r.groups {
		if p, ok := f.mirror.policies[g]; ok {
			d.Policies = append(d.Policies, json.RawMessage(p.Value.Envelope))
		}
	}
	return d, nil
}

func (f *Fleet) resetPolicies(all []store.Entry[PolicyRecord], _ int64) {
	f.mirror.mu.Lock()
	defer f.mirror.mu.Unlock()
	clear(f.mirror.policies)
	for _, e := range all {
		f.mirror.policies[e.Key] = e
	}
}

func (f *Fleet) applyPolicies(changes []store.Change[PolicyRecord]) {
	f.mirror.mu.Lock()
	defer f.mirror.mu.Unlock()
	for _, c := range changes {
		if c.Deleted {
			delete(f.mirror.policies, c.Key)
		} else {
			f.mirror.policies[c.Key] = c.Entry
		}
	}
}
