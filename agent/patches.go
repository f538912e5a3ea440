package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

// maxRequests hides the round trip and bounds the memory: each may hold a chunk.
const maxRequests = 3

// open looks for the pack of patches from the running slot's payload to a component's. A device whose slot holds nothing
// known, or a release without such a pack, gets whole chunks.
func (a *Agent) open(ctx context.Context, c *firmware.Component, index *firmware.Index) *remote.Remote {
	o := remote.Options{Files: a.limited(a.site), Target: c.SHA256, Index: index, Requests: maxRequests, Log: a.Log}
	if r := a.running; r != nil && !r.held.Payload.IsZero() {
		o.Keep = a.passed.begin(c.SHA256)
		o.Base = &remote.Base{SHA256: r.held.Payload, Index: r.index, Payload: r.payload}
	}
	r, err := remote.Open(ctx, o)
	if err != nil {
		a.Log.Warn("patches are not used; chunks are fetched whole", "error", err)
	}
	return r
}

// difference returns the index of a component as it follows from the running slot's, and keeps the pack for its chunks. It
// is called while plan fetches an index, which holds the lock of the plans.
func (a *Agent) difference(ctx context.Context, c *firmware.Component) ([]byte, error) {
	r := a.open(ctx, c, nil)
	b, err := r.Index(ctx, c.Index)
	if err == nil {
		a.plans.remote, a.plans.remoteOf = r, c.SHA256
	}
	return b, err
}

// remote returns where the chunks of a plan come from. The pack may have come to be since the index was fetched.
func (a *Agent) remote(ctx context.Context, p *plan) *remote.Remote {
	a.plans.mu.Lock()
	defer a.plans.mu.Unlock()
	if r := a.plans.remote; r != nil && a.plans.remoteOf == p.component.SHA256 && r.Groups() != nil {
		return r
	}
	a.plans.remote, a.plans.remoteOf = a.open(ctx, &p.component, p.index), p.component.SHA256
	return a.plans.remote
}

// swarm is the trade in the chunks of a plan, with patches where there is a pack.
func (a *Agent) swarm(p *plan, have firmware.Source, from *remote.Remote) Swarm {
	s := Swarm{ID: indexOf(p.index), Index: p.index, Have: have, Origin: leased{from}}
	groups := from.Groups()
	if groups == nil {
		return s
	}
	a.passed.of(groups)
	s = a.passed.on(p.component.SHA256, s)
	s.Groups, s.Patched = groups, from.Patched
	return s
}

// settle lets go of what only the work on a plan needs: what neighbours may want of it stays.
func (a *Agent) settle() {
	a.plans.mu.Lock()
	defer a.plans.mu.Unlock()
	a.plans.remote = nil
}

// suspect is a seed that says so when it turns out to be damaged, once.
type suspect struct {
	*firmware.Seed
	log  *slog.Logger
	slot string
	once sync.Once
}

// Chunk implements firmware.Source.
func (s *suspect) Chunk(ctx context.Context, id firmware.ChunkID) ([]byte, error) {
	return s.AppendChunk(ctx, nil, id)
}

// AppendChunk is firmware.Seed's.
func (s *suspect) AppendChunk(ctx context.Context, dst []byte, id firmware.ChunkID) ([]byte, error) {
	b, err := s.Seed.AppendChunk(ctx, dst, id)
	if errors.Is(err, firmware.ErrCorrupt) {
		s.once.Do(func() {
			s.log.Warn("the running slot is damaged; what it has lost is fetched", "slot", s.slot, "error", err)
		})
	}
	return b, err
}
