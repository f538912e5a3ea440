package mesh_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
	"github.com/waxwing-ota/waxwing/mesh"
)

// TestRestartWithAnEmptyDisk lets a neighbour that had everything come back, in the middle of another's update, with the same
// certificate and nothing: both finish with what is right, and nobody is said to lie.
func TestRestartWithAnEmptyDisk(t *testing.T) {
	other := newSite(t)
	one, two := other.device("one", nil), other.device("two", nil)
	other.see(one, 1)
	other.see(two, 1)
	clean := together(t, func() error { _, _, err := other.fetch(one); return err }, func() error { _, _, err := other.fetch(two); return err })

	s, saw := newSite(t), &witness{}
	hear := func(o *mesh.Options) { o.Offended = saw.hear }
	id, cert := firmware.Sum(s.index.Encode()), s.fleet.Device(t, "a")
	start := func() (m *mesh.Mesh, stop func()) {
		m, err := mesh.New(mesh.Options{
			Device: "a", Certificate: always(cert), FleetCA: s.fleet.Pool, Fleet: s.fleet.Tag, Interfaces: []string{"lo"},
			Listen: "127.0.0.1:0", Received: s.origin.Received, HoldOff: 500 * time.Millisecond, Stall: 2 * time.Second, Offended: saw.hear,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(s.ctx)
		ended := make(chan struct{})
		go func() { defer close(ended); _ = m.Run(ctx) }()
		stop = func() { cancel(); <-ended }
		t.Cleanup(stop)
		return m, stop
	}
	a, stop := start()
	full := make(slot, len(s.whole))
	copy(full, s.whole)
	a.Share(mesh.Swarm{ID: id, Index: s.index, Have: firmware.NewSeed(s.index, bytes.NewReader(full))})
	b := s.device("b", hear)
	s.see(b, 1)

	// b's slot, which takes its time: a third from a is in it, then a is gone.
	target := make(slot, len(s.whole))
	job := assemble.New(assemble.Options{Index: s.index, Digest: firmware.Sum(s.whole), Target: target})
	third, once := make(chan struct{}), sync.Once{}
	var got int
	var mu sync.Mutex
	done := make(chan error, 2)
	began := time.Now()
	go func() {
		_, err := job.Run(s.ctx, func(ctx context.Context, missing []firmware.Chunk, deliver assemble.Deliver) error {
			_, err := b.Fetch(ctx, mesh.Swarm{
				ID: id, Index: s.index, Have: job, Origin: s.origin,
				Came: func(d mesh.Delivery) {
					mu.Lock()
					defer mu.Unlock()
					if got += d.Chunks; got > len(s.index.Chunks)/3 {
						once.Do(func() { close(third) })
					}
				},
			}, missing, deliver)
			return err
		})
		if err == nil && !bytes.Equal(target, s.whole) {
			err = fmt.Errorf("another payload")
		}
		done <- err
	}()
	select {
	case <-third:
	case <-s.ctx.Done():
		t.Fatal("nothing came")
	}
	stop()
	again, _ := start()
	go func() {
		_, got, err := s.fetch(again)
		if err == nil && !bytes.Equal(got, s.whole) {
			err = fmt.Errorf("another payload")
		}
		done <- err
	}()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if took, stall := time.Since(began), 2*time.Second; took > 2*clean+stall { // for so long what it had is waited for
		t.Errorf("it took %s; two without anything need %s", took, clean)
	}
	if asked, _ := s.origin.Asked(); asked > len(s.index.Distinct())*5/4 { // they find each other anew, and may begin with the same
		t.Errorf("%d chunks crossed the uplink for %d", asked, len(s.index.Distinct()))
	}
	heard := saw.all()
	if len(heard) > 0 {
		t.Error(heard)
	}
}

// together returns how long the slower takes.
func together(t *testing.T, all ...func() error) time.Duration {
	t.Helper()
	var g errgroup.Group
	began := time.Now()
	for _, f := range all {
		g.Go(f)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}
