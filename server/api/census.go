package api

import (
	"context"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/rollout"
)

type versionKey struct{ product, version string }

// census is counts over the whole fleet.
type census struct {
	devices  int
	online   int
	pending  []string // devices that wait for a person
	versions map[versionKey]int
	phases   map[string]int
	bytes    protocol.Bytes
}

// counter takes a census and keeps it for ten times as long as taking it took: a small fleet is always counted afresh, and
// a large one takes a tenth of a core at most, however many pages ask.
type counter struct {
	mu    sync.Mutex
	last  census
	until time.Time
}

// census returns counts of the fleet.
func (s *Server) census(ctx context.Context) (census, error) {
	s.counter.mu.Lock()
	defer s.counter.mu.Unlock()
	begun := time.Now()
	if begun.Before(s.counter.until) {
		return s.counter.last, ctx.Err()
	}
	views, _, _ := s.Fleet.Views(ctx, fleet.Query{})
	s.counter.last = take(views)
	s.counter.until = time.Now().Add(10 * time.Since(begun))
	return s.counter.last, ctx.Err()
}

// censusFor is census without versions for those who may not look at the fleet.
func (s *Server) censusFor(ctx context.Context) (census, error) {
	if !auth.May(callerOf(ctx).Scopes, auth.Read) {
		return census{}, nil
	}
	return s.census(ctx)
}

func take(views []fleet.View) census {
	c := census{devices: len(views), versions: map[versionKey]int{}, phases: map[string]int{}}
	for i := range views {
		v := &views[i]
		if v.Presence.Online {
			c.online++
		}
		if v.Admission == fleet.Pending {
			c.pending = append(c.pending, v.ID)
		}
		running := v.State.Report.Running
		c.versions[versionKey{running.Product, running.Version}]++
		phase := protocol.Idle
		if u := v.State.Report.Update; u != nil {
			if u.Phase != "" {
				phase = u.Phase
			}
			c.bytes.Reused += u.Bytes.Reused
			c.bytes.Peers += u.Bytes.Peers
			c.bytes.Origin += u.Bytes.Origin
			c.bytes.Served += u.Bytes.Served
			c.bytes.Total += u.Bytes.Total
			c.bytes.Done += u.Bytes.Done
		}
		c.phases[string(phase)]++
	}
	return c
}

// activeRollouts are the rollouts that have not ended, newest first.
type activeRollouts []*rollout.Rollout

func (s *Server) active(ctx context.Context) (activeRollouts, error) {
	all, err := s.Rollouts.Governing(ctx)
	var active activeRollouts
	for _, e := range all {
		if !e.Value.Ended() {
			active = append(active, e.Value)
		}
	}
	return active, err
}

// of returns the device's part in the newest rollout that it is a member of; one that leaves it out counts least.
func (a activeRollouts) of(v *fleet.View) *placement {
	var out *placement
	for _, r := range a {
		m, ok := r.Members[v.ID]
		if !ok {
			continue
		}
		p := &placement{
			id: r.ID, version: r.Spec.Product + " " + r.Spec.Version, state: r.State, stage: r.Stage,
			stages: len(r.Spec.Stages), member: *m, hardware: r.Hardware,
		}
		if m.Status != rollout.Excluded {
			return p
		}
		if out == nil {
			out = p
		}
	}
	return out
}
