package mesh

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// meet follows those neighbours that swarm.Links chooses, as they come and go.
func (m *Mesh) meet(ctx context.Context, f *fetch) error {
	g, ctx := errgroup.WithContext(ctx)
	links := swarm.NewLinks(swarm.LinkOptions{ID: f.s.ID.String(), Self: m.o.Device})
	stops := map[string]context.CancelFunc{}
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	var event any = swarm.Began{}
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		at := m.addresses()
		in := make([]string, 0, len(at))
		for id := range at {
			in = append(in, id)
		}
		now := time.Now()
		effects := slices.Concat(links.Step(swarm.Sighted{Devices: in}, now), links.Step(event, now))
		for _, effect := range effects {
			switch e := effect.(type) {
			case swarm.Follow:
				one, stop := context.WithCancel(ctx)
				if old := stops[e.Device]; old != nil {
					old()
				}
				stops[e.Device] = stop
				how := exchange.Other
				if e.First {
					how = exchange.First
				}
				g.Go(func() error { m.follow(one, f, e.Device, at[e.Device], how); return nil })
			case swarm.Unfollow:
				if stop := stops[e.Device]; stop != nil {
					stop()
					delete(stops, e.Device)
				}
				_ = f.say(ctx, swarm.PeerLeft{Peer: e.Device}) // it ends with ctx
			}
		}
		if next := links.Wake(now); !next.IsZero() {
			wake.Reset(time.Until(next))
		}
		event = swarm.Ticked{}
		select {
		case <-ctx.Done():
			_ = g.Wait()
			return ctx.Err()
		case <-changed:
		case event = <-f.links:
		case id := <-f.board.Came():
			event = swarm.Known{Devices: []string{id}}
		case <-wake.C:
		}
	}
}

// follow waits for a neighbour's news again and again, until it does not answer or is not to be followed any more.
func (m *Mesh) follow(ctx context.Context, f *fetch, id string, at netip.AddrPort, how exchange.How) {
	var revision uint64
	for {
		state, err := m.client.State(ctx, at, f.s.ID, revision, how)
		var seen swarm.PeerSeen
		var words []swarm.Word
		if ctx.Err() != nil {
			return
		}
		f.answers(ctx, id, at, err)
		if err == nil {
			seen, words, err = f.understand(state)
		}
		if err != nil {
			m.o.Log.Debug("a neighbour is not followed", "neighbor", id, "because", err)
			if revision != 0 {
				_ = f.say(ctx, gone{swarm.PeerGone{Peer: id}, at})
			}
			_ = f.tell(ctx, swarm.Refused{Device: id, Busy: errors.Is(err, exchange.ErrBusy)}) // both end with ctx
			return
		}
		if revision == 0 {
			if f.tell(ctx, swarm.Followed{Device: id}) != nil {
				return
			}
		}
		revision = state.Revision
		seen.Peer = id
		if f.say(ctx, located{seen, at, words}) != nil {
			return
		}
	}
}

// verify asks a neighbour that is not followed where it stands.
func (f *fetch) verify(ctx context.Context, id string) error {
	at, ok := f.m.addresses()[id]
	err := errors.New("it is out of sight")
	if ok {
		var state exchange.State
		state, err = f.m.client.State(ctx, at, f.s.ID, 0, exchange.Once)
		f.answers(ctx, id, at, err)
		if err == nil {
			var seen swarm.PeerSeen
			if seen, _, err = f.understand(state); err == nil {
				seen.Peer, seen.Once = id, true
				return f.say(ctx, located{seen, at, nil})
			}
		}
	}
	f.m.o.Log.Debug("a neighbour does not say where it stands", "neighbor", id, "because", err)
	_ = f.tell(ctx, swarm.Refused{Device: id}) // it ends with ctx
	return f.say(ctx, swarm.PeerGone{Peer: id})
}

// lastFailure in a row of a neighbour makes discovery doubt that it is still there.
const lastFailure = 3

// answers notes whether a neighbour answered at all.
func (f *fetch) answers(ctx context.Context, id string, at netip.AddrPort, err error) {
	well := err == nil || errors.Is(err, exchange.ErrNotTrading) || errors.Is(err, exchange.ErrBusy)
	f.mu.Lock()
	f.failures[at]++
	if well {
		delete(f.failures, at)
	}
	gone := f.failures[at] == lastFailure
	f.mu.Unlock()
	if well {
		f.m.intro.hears(id)
	}
	if gone && ctx.Err() == nil {
		f.m.judge(ctx, at, false)
	}
}

// understand reads a neighbour's state, and what it passes on.
func (f *fetch) understand(state exchange.State) (e swarm.PeerSeen, words []swarm.Word, err error) {
	n := len(f.chunks)
	if e.Have, err = swarm.ParseSet(n, state.Have); err != nil {
		return e, nil, err
	}
	if e.Claims, err = swarm.ParseRuns(n, state.Fetching); err != nil {
		return e, nil, err
	}
	if e.Site, err = swarm.ParseNear(n, state.Near); err != nil {
		return e, nil, err
	}
	e.Received, e.Link = state.Received, swarm.Link(state.Link)
	for _, p := range state.Packs {
		covers, err := swarm.ParseSet(n, p.Covers)
		if err != nil {
			return e, nil, err
		}
		f.packs.put(swarm.Pack{ID: p.ID, Chunks: covers})
	}
	f.board.Hear(nil, state.Packs)
	if e.Pack = f.packs.get(state.Pack); f.s.Patched != nil && e.Pack.ID == f.core.Pack().ID {
		if e.Patches, err = swarm.ParseRuns(len(f.s.Groups), state.Patches); err != nil {
			return e, nil, err
		}
	}
	for _, w := range state.Words {
		claims, err := swarm.ParseRuns(n, w.Fetching)
		if err != nil {
			return e, nil, err
		}
		words = append(words, swarm.Word{Device: w.Device, Revision: w.Revision, Claims: claims, Pack: w.Pack, Link: swarm.Link(w.Link), Received: w.Received})
	}
	return e, words, nil
}
