package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/identity"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// Options of [New].
type Options struct {
	Store    *store.Store
	Identity *identity.Authority
	Signer   policy.Signer    // of memberships: a policy key
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger
}

// Fleet is the devices and groups of one server.
type Fleet struct {
	store     *store.Store
	identity  *identity.Authority
	signer    policy.Signer
	now       func() time.Time
	log       *slog.Logger
	devices   store.Collection[Device]
	states    store.Collection[State]
	groups    store.Collection[Group]
	tokens    store.Collection[Token]
	documents store.Collection[protocol.Documents]
	policies  store.Collection[PolicyRecord]

	mirror    *mirror
	arrivals  chan *arrival
	ended     chan struct{} // closed when Run returns
	enrolling sync.Mutex    // devices that enrol at once would only disturb each other at the token
	after     revisions
}

// revisions are where the watches begin.
type revisions struct{ devices, states, groups, documents, policies int64 }

// New reads the fleet from the store and makes the group of all devices if it is missing. Until Run runs, nothing that
// others write is seen, and Ingest waits.
func New(ctx context.Context, o Options) (*Fleet, error) {
	f := &Fleet{
		store: o.Store, identity: o.Identity, signer: o.Signer, now: o.Now, log: o.Log,
		devices:   store.NewCollection[Device](o.Store, DevicesName),
		states:    store.NewCollection[State](o.Store, StatesName),
		groups:    store.NewCollection[Group](o.Store, GroupsName),
		tokens:    store.NewCollection[Token](o.Store, TokensName),
		documents: store.NewCollection[protocol.Documents](o.Store, DocumentsName),
		policies:  store.NewCollection[PolicyRecord](o.Store, PoliciesName),
		mirror:    newMirror(),
		arrivals:  make(chan *arrival, 4*maxBatch),
		ended:     make(chan struct{}),
	}
	if f.now == nil {
		f.now = time.Now
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if _, err := f.groups.Create(ctx, AllGroup, Group{Name: AllGroup}); err != nil && !errors.Is(err, store.ErrExists) {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	if err := f.load(ctx); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return f, nil
}

func (f *Fleet) load(ctx context.Context) error {
	groups, at, err := f.groups.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	f.after.groups = at
	f.resetGroups(groups, at)
	policies, at, err := f.policies.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	f.after.policies = at
	f.resetPolicies(policies, at)
	devices, at, err := f.devices.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	f.after.devices = at
	f.mirror.putDevices(devices...)
	states, at, err := f.states.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	f.after.states = at
	f.mirror.putStates(states...)
	documents, at, err := f.documents.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	f.after.documents = at
	f.resetDocuments(documents, at)
	return nil
}

// Run follows the store, writes reports and keeps memberships signed until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	defer close(f.ended)
	changed := f.Subscribe()
	defer changed.Close()
	changes := make(chan []string)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.writeReports(ctx) })
	g.Go(func() error { return pump(ctx, changed, changes) })
	g.Go(func() error { return f.keepMemberships(ctx, changes) })
	g.Go(func() error {
		return f.groups.Follow(ctx, f.after.groups, f.resetGroups, func(changes []store.Change[Group]) {
			for _, c := range changes {
				f.applyGroup(c)
			}
		})
	})
	g.Go(func() error {
		return f.policies.Follow(ctx, f.after.policies, f.resetPolicies, f.applyPolicies)
	})
	g.Go(func() error {
		return f.devices.Follow(ctx, f.after.devices,
			func(all []store.Entry[Device], _ int64) { f.mirror.putDevices(all...) },
			func(changes []store.Change[Device]) { f.mirror.putDevices(puts(changes)...) })
	})
	g.Go(func() error {
		return f.states.Follow(ctx, f.after.states,
			func(all []store.Entry[State], _ int64) { f.mirror.putStates(all...) },
			func(changes []store.Change[State]) { f.mirror.putStates(puts(changes)...) })
	})
	g.Go(func() error {
		return f.documents.Follow(ctx, f.after.documents, f.resetDocuments, func(changes []store.Change[protocol.Documents]) {
			f.noteDocuments(puts(changes))
		})
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// puts returns what was written. Devices and what belongs to them are never removed.
func puts[T any](changes []store.Change[T]) []store.Entry[T] {
	entries := make([]store.Entry[T], 0, len(changes))
	for _, c := range changes {
		if !c.Deleted {
			entries = append(entries, c.Entry)
		}
	}
	return entries
}

// Subscribe returns the devices whose identity, labels, groups or state changed, after the change is durable. Close it.
func (f *Fleet) Subscribe() *Feed { return f.mirror.changed.subscribe() }

// SubscribePresence returns the devices that came or went. Close it.
func (f *Fleet) SubscribePresence() *Feed { return f.mirror.presence.subscribe() }
