package conductor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/rollout"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// commit stores what a step changed and then lets it be seen. Members come first and alone when they are many: a member
// without its rollout's newest state is what a crash in between leaves, and the next report mends it.
func (c *Conductor) commit(ctx context.Context, l *live, effects []rollout.Effect) error {
	if len(effects) == 0 {
		return nil
	}
	records := map[string]bool{}
	publish := false
	for _, e := range effects {
		switch e := e.(type) {
		case rollout.Record:
			records[e.Device] = true
		case rollout.Publish:
			publish = true
		}
	}
	first := store.NewBatch(c.o.Store)
	last := store.NewBatch(c.o.Store)
	for i, id := range slices.Sorted(maps.Keys(records)) {
		b := last
		if i < len(records)-64 { // the last few share the transaction of the rollout
			b = first
		}
		if err := c.members.PutIn(b, l.ID+"/"+id, *l.Members[id]); err != nil {
			return err
		}
	}
	c.rollouts.UnchangedIn(last, l.ID, l.revision)
	if err := c.rollouts.PutIn(last, l.ID, *l.Rollout); err != nil {
		return err
	}
	next := l.policy
	if publish {
		var err error
		if next.Value, err = c.sign(l); err != nil {
			return err
		}
		c.policies.UnchangedIn(last, l.Spec.Group, l.policy.Revision)
		if err := c.policies.PutIn(last, l.Spec.Group, next.Value); err != nil {
			return err
		}
	}
	if err := first.Commit(ctx); err != nil {
		return fmt.Errorf("store members of rollout %s: %w", l.ID, err)
	}
	revision, err := last.CommitAt(ctx)
	if err != nil {
		return fmt.Errorf("store rollout %s: %w", l.ID, err)
	}
	l.revision = revision // what the next write is guarded by
	if publish {
		l.policy = store.Entry[fleet.PolicyRecord]{Key: l.Spec.Group, Value: next.Value, Revision: revision}
		l.signedAt = c.o.Now()
	}
	return nil
}

// sign returns the next policy of a rollout's group.
func (c *Conductor) sign(l *live) (fleet.PolicyRecord, error) {
	now := c.o.Now().UTC()
	p := l.Policy()
	p.Seq, p.IssuedAt, p.ExpiresAt, p.SnapshotFloor = l.policy.Value.Seq+1, now, now.Add(policyLife), c.o.Floor()
	envelope, err := policy.Seal(&p, c.o.Signer)
	if err != nil {
		return fleet.PolicyRecord{}, fmt.Errorf("policy of rollout %s: %w", l.ID, err)
	}
	return fleet.PolicyRecord{Seq: p.Seq, Envelope: envelope}, nil
}

// load reads the governing rollouts and feeds them what their devices last reported.
func (c *Conductor) load(ctx context.Context) error {
	all, _, err := c.rollouts.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	newest := map[string]store.Entry[rollout.Rollout]{}
	for _, e := range all { // ids are in the order of their making
		newest[e.Value.Spec.Group] = e
	}
	governing := map[string]*live{}
	for group, e := range newest {
		l := &live{Rollout: &e.Value, revision: e.Revision}
		if l.Members, err = c.readMembers(ctx, l.ID); err != nil {
			return err
		}
		if l.policy, err = c.policies.Get(ctx, group); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		governing[group] = l // signedAt is zero: the first tick signs again, which does no harm
	}
	c.governing = governing
	return c.catchUp(ctx)
}

// catchUp compares each governing rollout with the fleet as it is.
func (c *Conductor) catchUp(ctx context.Context) error {
	for group, l := range c.governing {
		views, err := c.o.Fleet.Candidates(ctx, group)
		if err != nil && !errors.Is(err, fleet.ErrGroup) {
			return err
		}
		present := make(map[string]fleet.View, len(views))
		for _, v := range views {
			present[v.ID] = v
		}
		ids := maps.Clone(present)
		for id := range l.Members {
			ids[id] = present[id]
		}
		var effects []rollout.Effect
		for id, v := range ids {
			for _, event := range events(l.Rollout, id, v) {
				effects = append(effects, l.Step(event, c.o.Now())...)
			}
		}
		if err := c.commit(ctx, l, effects); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conductor) readMembers(ctx context.Context, id string) (map[string]*rollout.Member, error) {
	entries, _, err := c.members.List(ctx, store.Page{Prefix: id + "/"})
	if err != nil {
		return nil, err
	}
	members := make(map[string]*rollout.Member, len(entries))
	for _, e := range entries {
		members[e.Key[len(id)+1:]] = &e.Value
	}
	return members, nil
}
