package mesh

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// lastFailure in a row of a neighbour that is followed makes discovery doubt that it is still there.
const lastFailure = 3

// meet follows every neighbour in sight, as they come and go.
func (m *Mesh) meet(ctx context.Context, f *fetch) error {
	g, ctx := errgroup.WithContext(ctx)
	following := map[netip.AddrPort]context.CancelFunc{}
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		now := m.known()
		for at, stop := range following {
			if _, still := now[at]; !still {
				stop()
				delete(following, at)
			}
		}
		for at, id := range now {
			if following[at] == nil {
				one, stop := context.WithCancel(ctx)
				following[at] = stop
				g.Go(func() error { m.follow(one, f, id, at); return nil })
			}
		}
		select {
		case <-ctx.Done():
			_ = g.Wait()
			return ctx.Err()
		case <-changed:
		}
	}
}

// follow waits for a neighbour's news again and again. One that is not in this swarm yet is asked often at first, as
// devices of a site begin together, and then every second.
func (m *Mesh) follow(ctx context.Context, f *fetch, id string, at netip.AddrPort) {
	var revision uint64
	var pack swarm.Pack
	failures := 0 // in a row
	for wait := 100 * time.Millisecond; ctx.Err() == nil; {
		state, err := m.client.State(ctx, at, f.s.ID, revision)
		var seen swarm.PeerSeen
		if err == nil {
			seen, err = understand(state, len(f.chunks), &pack)
		}
		if failures++; err == nil || errors.Is(err, exchange.ErrNotTrading) {
			failures = 0
			m.intro.hears(id)
		}
		if failures == lastFailure {
			m.judge(ctx, at, false)
		}
		if err != nil {
			if revision != 0 {
				_ = f.say(ctx, gone{swarm.PeerGone{Peer: id}, at})
			}
			revision = 0
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(wait*5/4, time.Second)
			continue
		}
		if asked := revision; asked != 0 && seen.Pack.ID != state.Pack {
			revision = 0 // it has another pack by now
		} else {
			revision = state.Revision
		}
		seen.Peer = id
		if f.say(ctx, located{seen, at}) != nil {
			return
		}
	}
}

// understand reads a neighbour's state. What covers a pack comes once and is kept in pack.
func understand(state exchange.State, chunks int, pack *swarm.Pack) (e swarm.PeerSeen, err error) {
	e.Received = state.Received
	if e.Have, err = swarm.ParseSet(chunks, state.Have); err != nil {
		return e, err
	}
	if e.Claims, err = swarm.ParseRuns(chunks, state.Fetching); err != nil {
		return e, err
	}
	switch {
	case state.Pack == "":
		*pack = swarm.Pack{}
	case len(state.Covers) > 0:
		covers, err := swarm.ParseSet(chunks, state.Covers)
		if err != nil {
			return e, err
		}
		*pack = swarm.Pack{ID: state.Pack, Chunks: covers}
	case state.Pack != pack.ID:
		*pack = swarm.Pack{}
	}
	e.Pack = *pack
	return e, nil
}
