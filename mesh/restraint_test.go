package mesh_test

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/mesh"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// TestRestraint holds that a device whose limit keeps it from the origin gets all from its neighbour, and that one alone goes
// on when the limit ends.
func TestRestraint(t *testing.T) {
	s := newSite(t)
	var free atomic.Bool
	restrained := s.device("restrained", func(o *mesh.Options) {
		o.Restraint = func() swarm.Link {
			if free.Load() {
				return ""
			}
			return swarm.Limited
		}
	})
	other := s.device("other", nil)
	s.see(restrained, 1)
	s.see(other, 1)
	var g errgroup.Group
	g.Go(func() error {
		traffic, _, err := s.fetch(restrained)
		if traffic.Origin > 0 || traffic.Peers < int64(len(s.whole)) {
			t.Errorf("a device that may not ask the origin: %+v", traffic)
		}
		return err
	})
	g.Go(func() error { _, _, err := s.fetch(other); return err })
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}

	alone := newSite(t)
	m := alone.device("alone", func(o *mesh.Options) {
		o.Restraint = func() swarm.Link {
			if free.Load() {
				return ""
			}
			return swarm.Limited
		}
	})
	time.AfterFunc(2*time.Second, func() {
		if asked, _ := alone.origin.Asked(); asked > 0 {
			t.Errorf("%d chunks were asked for before it might", asked)
		}
		free.Store(true)
	})
	if traffic, _, err := alone.fetch(m); err != nil || traffic.Origin == 0 {
		t.Errorf("%+v, %v", traffic, err)
	}
}
