package conductor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/rollout"
	"github.com/waxwing-ota/waxwing/server/store"
)

// Create starts a rollout, or with dryRun says what it would be: the result then has no id and nothing is stored. Errors
// match rollout.ErrSpec, ErrBusy, ErrState (the release is not published), and those of fleet and release for what does not
// exist.
func (c *Conductor) Create(ctx context.Context, s rollout.Spec, by string, dryRun bool) (*rollout.Rollout, int64, error) {
	s, err := s.Complete()
	if err != nil {
		return nil, 0, err
	}
	rel, err := c.o.Releases.Get(ctx, s.Product, s.Version)
	if err != nil {
		return nil, 0, err
	}
	if rel.State != release.Published {
		return nil, 0, fmt.Errorf("release %s %s is %s, not published: %w", s.Product, s.Version, rel.State, ErrState)
	}
	ref, err := rel.Policy()
	if err != nil {
		return nil, 0, err
	}
	now := c.o.Now().UTC()
	r := &rollout.Rollout{
		ID: "rol_" + strings.ToLower(ulid.Make().String()), Spec: s, Release: ref, Hardware: rel.Manifest.Hardware,
		CreatedAt: now, CreatedBy: by,
	}
	var revision int64
	err = c.call(ctx, func(ctx context.Context) error {
		before, busy := c.governing[s.Group]
		if busy && !before.Ended() {
			return fmt.Errorf("rollout %s of %s %s to group %s: %w; abort it or wait",
				before.ID, before.Spec.Product, before.Spec.Version, s.Group, ErrBusy)
		}
		views, err := c.o.Fleet.Candidates(ctx, s.Group)
		if err != nil {
			return err
		}
		l := &live{Rollout: r}
		if busy {
			l.policy = before.policy
		} else if l.policy, err = c.policies.Get(ctx, s.Group); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		effects := r.Step(rollout.Started{Candidates: candidates(views)}, now)
		if dryRun {
			return nil
		}
		if all := r.Counts(); all.Total == all.ByStatus[rollout.Excluded] {
			return fmt.Errorf("%w: none of the %d devices of group %s can take %s %s; see them with --dry-run",
				rollout.ErrSpec, all.Total, s.Group, s.Product, s.Version)
		}
		if err := c.commit(ctx, l, effects); err != nil {
			return err
		}
		c.governing[s.Group], revision = l, l.revision
		r = copied(r)
		return nil
	})
	if dryRun {
		r.ID = ""
	}
	return r, revision, err
}

// Actions of people.
const (
	Pause   = "pause"
	Resume  = "resume"
	Promote = "promote"
	Abort   = "abort"
)

// Act lets a person pause, resume, promote or abort. Doing it twice is an error that matches ErrState and says where the
// rollout stands.
func (c *Conductor) Act(ctx context.Context, id, action, by, reason string) (*rollout.Rollout, int64, error) {
	var event rollout.Event
	allowed := []rollout.State{rollout.Running}
	switch action {
	case Pause:
		event = rollout.Halted{By: by, Reason: reason}
	case Resume:
		event, allowed = rollout.Resumed{By: by, Reason: reason}, []rollout.State{rollout.Paused}
	case Promote:
		event = rollout.Promoted{By: by, Reason: reason}
	case Abort:
		event, allowed = rollout.Stopped{By: by, Reason: reason}, []rollout.State{rollout.Running, rollout.Paused}
	default:
		return nil, 0, fmt.Errorf("no action %q: %w", action, ErrState)
	}
	var r *rollout.Rollout
	var revision int64
	err := c.call(ctx, func(ctx context.Context) error {
		l := c.find(id)
		if l == nil {
			return c.superseded(ctx, id, action)
		}
		if !slices.Contains(allowed, l.State) {
			return fmt.Errorf("rollout %s is %s: cannot %s it: %w", id, l.State, action, ErrState)
		}
		if err := c.commit(ctx, l, l.Step(event, c.o.Now().UTC())); err != nil {
			return errors.Join(err, c.load(ctx))
		}
		r, revision = copied(l.Rollout), l.revision
		return nil
	})
	return r, revision, err
}

// superseded explains why a rollout that governs no group cannot be acted on.
func (c *Conductor) superseded(ctx context.Context, id, action string) error {
	e, err := c.rollouts.Get(ctx, id)
	if err != nil {
		return err
	}
	return fmt.Errorf("rollout %s is %s and another one followed: cannot %s it: %w", id, e.Value.State, action, ErrState)
}

// Get returns a rollout with its members and its revision.
func (c *Conductor) Get(ctx context.Context, id string) (*rollout.Rollout, int64, error) {
	var r *rollout.Rollout
	var revision int64
	err := c.call(ctx, func(context.Context) error {
		if l := c.find(id); l != nil {
			r, revision = copied(l.Rollout), l.revision
		}
		return nil
	})
	if err != nil || r != nil {
		return r, revision, err
	}
	e, err := c.rollouts.Get(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	e.Value.Members, err = c.readMembers(ctx, id)
	return &e.Value, e.Revision, err
}

// List returns the ids of all rollouts, newest first.
func (c *Conductor) List(ctx context.Context) ([]string, error) {
	all, _, err := c.rollouts.List(ctx, store.Page{})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(all))
	for i, e := range all { // ids are in the order of their making
		ids[len(all)-1-i] = e.Key
	}
	return ids, nil
}

func (c *Conductor) find(id string) *live {
	for _, l := range c.governing {
		if l.ID == id {
			return l
		}
	}
	return nil
}

// copied returns a rollout that the caller may keep while the conductor goes on.
func copied(r *rollout.Rollout) *rollout.Rollout {
	out := *r
	out.Opened, out.Passed, out.Decisions = slices.Clone(r.Opened), slices.Clone(r.Passed), slices.Clone(r.Decisions)
	out.Members = make(map[string]*rollout.Member, len(r.Members))
	for id, m := range r.Members {
		one := *m
		out.Members[id] = &one
	}
	return &out
}
