// Package conductor drives rollouts: it feeds what devices report into server/rollout, stores what comes out, and signs
// the policies that devices follow.
//
//	fleet (changed devices) ──┐
//	people (Create, Act)    ──┼──► one goroutine: Step ──► one transaction: members, rollout, signed policy
//	the clock               ──┘
//
// A policy is stored in the same transaction as the rollout that implies it, guarded by the revisions of both, so there
// is no moment at which one says what the other does not, and a second conductor by mistake changes nothing. From the
// store the broker mirrors policies to MQTT and the device plane serves them; nothing is lost when either is down.
//
// The newest rollout of a group governs it, also after it has ended: its policy stays in force and is signed again daily,
// and its devices are still counted.
package conductor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/rollout"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// Collections in the store.
const (
	RolloutsName = "rollouts" // rollout id → rollout.Rollout
	MembersName  = "members"  // rollout id/device id → rollout.Member
)

// How long a policy is valid, and when it is signed again.
const (
	policyLife  = 72 * time.Hour
	policyRenew = 24 * time.Hour
)

// Errors that callers tell apart, beside those of the store and rollout.ErrSpec.
var (
	ErrBusy  = errors.New("the group has a rollout that has not ended")
	ErrState = errors.New("the rollout is not in a state for that")
)

// Fleet is what the conductor needs of server/fleet.
type Fleet interface {
	// Candidates returns the accepted devices of a group.
	Candidates(ctx context.Context, group string) ([]fleet.View, error)
	View(ctx context.Context, device string) (fleet.View, error)
	Subscribe() *fleet.Feed
}

// Releases is what the conductor needs of server/release.
type Releases interface {
	Get(ctx context.Context, product, version string) (release.Release, error)
}

// Options configure New.
type Options struct {
	Store    *store.Store
	Fleet    Fleet
	Releases Releases
	Signer   policy.Signer    // the policy key
	Floor    func() int64     // the snapshot version that devices must have reached
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger
}

// Conductor drives the rollouts of one server.
type Conductor struct {
	o        Options
	rollouts store.Collection[rollout.Rollout]
	members  store.Collection[rollout.Member]
	policies store.Collection[fleet.PolicyRecord]

	calls     chan call
	ended     chan struct{}
	governing map[string]*live // group → its newest rollout; owned by Run's goroutine
}

// live is a rollout in memory with the revisions that its next write is guarded by.
type live struct {
	*rollout.Rollout
	revision int64 // of the rollout's document
	policy   store.Entry[fleet.PolicyRecord]
	signedAt time.Time
}

// call is work for the goroutine that owns the rollouts.
type call struct {
	do   func(context.Context) error
	done chan error
}

// New wires a conductor; Run starts it.
func New(o Options) *Conductor {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Conductor{
		o:        o,
		rollouts: store.NewCollection[rollout.Rollout](o.Store, RolloutsName),
		members:  store.NewCollection[rollout.Member](o.Store, MembersName),
		policies: store.NewCollection[fleet.PolicyRecord](o.Store, fleet.PoliciesName),
		calls:    make(chan call), ended: make(chan struct{}), governing: map[string]*live{},
	}
}

// Run conducts until ctx ends. It begins by catching up with what devices reported while nobody conducted.
func (c *Conductor) Run(ctx context.Context) error {
	defer close(c.ended)
	feed := c.o.Fleet.Subscribe()
	defer feed.Close()
	if err := c.load(ctx); err != nil {
		return fmt.Errorf("conductor: %w", err)
	}
	changed := make(chan []string)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for {
			ids, err := feed.Next(ctx)
			if err != nil {
				return err
			}
			select {
			case changed <- ids:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	g.Go(func() error { return c.conduct(ctx, changed) })
	return g.Wait()
}

func (c *Conductor) conduct(ctx context.Context, changed <-chan []string) error {
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ids := <-changed:
			c.retry(ctx, "take in reports", func() error { return c.observe(ctx, ids) })
		case call := <-c.calls:
			call.done <- call.do(ctx)
		case <-wake.C:
			c.retry(ctx, "move on", func() error { return c.tick(ctx) })
		}
		wake.Reset(c.nextWake())
	}
}

// retry logs an error and reads everything again: what memory and store disagree on, the store decides. Reports are whole
// states, so what was missed is in the fleet still.
func (c *Conductor) retry(ctx context.Context, what string, do func() error) {
	err := do()
	for err != nil && ctx.Err() == nil {
		c.o.Log.Warn("conductor starts over", "while", what, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		err = c.load(ctx)
	}
}

// call runs a function on the goroutine that owns the rollouts.
func (c *Conductor) call(ctx context.Context, do func(context.Context) error) error {
	k := call{do: do, done: make(chan error, 1)}
	select {
	case c.calls <- k:
		return <-k.done
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		return errors.New("the server is stopping")
	}
}

// nextWake is how long nothing needs to be done unless something happens.
func (c *Conductor) nextWake() time.Duration {
	now := c.o.Now()
	wait := time.Hour
	for _, l := range c.governing {
		for _, at := range []time.Time{l.Wake(now), l.signedAt.Add(policyRenew)} {
			if !at.IsZero() {
				wait = min(wait, max(at.Sub(now), 0))
			}
		}
	}
	return wait
}

// tick lets time pass: soak times end, policies are signed again.
func (c *Conductor) tick(ctx context.Context) error {
	now := c.o.Now()
	for _, l := range c.governing {
		effects := l.Step(rollout.Ticked{}, now)
		if !now.Before(l.signedAt.Add(policyRenew)) {
			effects = append(effects, rollout.Publish{})
		}
		if err := c.commit(ctx, l, effects); err != nil {
			return err
		}
	}
	return nil
}

// observe takes in devices that changed: new reports, new groups, new admissions.
func (c *Conductor) observe(ctx context.Context, ids []string) error {
	now := c.o.Now()
	effects := map[*live][]rollout.Effect{}
	for _, id := range ids {
		view, err := c.o.Fleet.View(ctx, id)
		if err != nil && !errors.Is(err, fleet.ErrUnknown) {
			return err
		}
		for _, l := range c.governing {
			for _, event := range events(l.Rollout, id, view) {
				effects[l] = append(effects[l], l.Step(event, now)...)
			}
		}
	}
	for l, e := range effects {
		if err := c.commit(ctx, l, e); err != nil {
			return err
		}
	}
	return nil
}
