package conductor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/conductor"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/fleet/fleettest"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/rollout"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is releases that exist.
type shelf map[string]release.Release

func (s shelf) Get(_ context.Context, product, version string) (release.Release, error) {
	r, ok := s[version]
	if !ok {
		return r, fmt.Errorf("release %s %s: %w", product, version, store.ErrNotFound)
	}
	return r, nil
}

func published(version string, counter uint64) release.Release {
	m := &firmware.Manifest{Schema: 1, Product: "gw", Version: version, Counter: counter, Hardware: []string{"hw"}}
	return release.Release{Product: "gw", Version: version, State: release.Published, Manifest: m, Length: 9, Digest: firmware.Sum([]byte(version))}
}

// world is a real fleet on a real store, a conductor, and a clock.
type world struct {
	t *testing.T
	*fleettest.World
	c    *conductor.Conductor
	stop func()
	seq  uint64

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T, devices int) *world {
	w := &world{t: t, World: fleettest.New(t), now: time.Now()}
	for i := range devices {
		w.Device(t, name(i), nil)
	}
	w.conduct()
	return w
}

func name(i int) string { return fmt.Sprintf("d-%02d", i+1) }

// conduct starts a conductor; the one before must have been stopped.
func (w *world) conduct() {
	w.c = conductor.New(conductor.Options{
		Store: w.Store, Fleet: w.Fleet, Signer: w.Signer, Floor: func() int64 { return 3 }, Log: slog.New(slog.DiscardHandler),
		Releases: shelf{"1": published("1", 1), "2": published("2", 2), "yanked": {State: release.Yanked}},
		Now:      func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
	})
	w.stop = fleettest.Run(w.t, func(ctx context.Context) error {
		if err := w.c.Run(ctx); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
}

// policy returns the group's policy as a device would see it.
func (w *world) policy() *policy.Policy {
	w.t.Helper()
	e, err := store.NewCollection[fleet.PolicyRecord](w.Store, fleet.PoliciesName).Get(w.t.Context(), fleet.AllGroup)
	if err != nil {
		w.t.Fatal(err)
	}
	document, err := policy.Open(e.Value.Envelope, &policy.Keys{Policy: public.Any(w.Signer.Public())})
	if err != nil {
		w.t.Fatal(err)
	}
	p := document.(*policy.Policy)
	if p.Seq != e.Value.Seq {
		w.t.Fatalf("record %d, policy %d", e.Value.Seq, p.Seq)
	}
	return p
}

// report lets devices say where they stand with a version.
func (w *world) report(version string, phase protocol.Phase, devices ...string) {
	w.t.Helper()
	for _, d := range devices {
		w.seq++
		r := protocol.Report{
			Schema: 1, Device: d, Seq: w.seq, Time: time.Now(), Hardware: "hw", Running: protocol.Running{Slot: "a"},
			Update: &protocol.Update{Product: "gw", Version: version, SHA256: firmware.Sum([]byte(version)), Phase: phase},
		}
		if phase == protocol.Committed {
			r.Running = protocol.Running{Slot: "b", Product: "gw", Version: version, Counter: 1, SHA256: r.Update.SHA256}
		}
		if phase == protocol.Failed {
			r.Update.Reason = protocol.ReasonProbe
		}
		b, err := json.Marshal(r)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.Ingest(w.t.Context(), d, b, "127.0.0.1"); err != nil {
			w.t.Fatal(err)
		}
	}
}

// until waits for a rollout to be as wished.
func (w *world) until(id, what string, holds func(*rollout.Rollout) bool) *rollout.Rollout {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		r, _, err := w.c.Get(w.t.Context(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		if holds(r) {
			return r
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: it is %s in stage %d with %v", what, r.State, r.Stage, r.Counts())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) create(version string, stages ...rollout.Stage) *rollout.Rollout {
	w.t.Helper()
	r, _, err := w.c.Create(w.t.Context(), rollout.Spec{Product: "gw", Version: version, Stages: stages}, "ann", false)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func inCohort(p *policy.Policy, n int) (in []string) {
	for i := range n {
		if p.Cohort.Includes(name(i)) {
			in = append(in, name(i))
		}
	}
	return in
}

func TestWalkToTheEnd(t *testing.T) {
	w := newWorld(t, 8)
	r := w.create("1")
	p := w.policy()
	first := inCohort(p, 8)
	if p.Action != policy.Install || len(first) != 1 || p.Rollout != r.ID || p.SnapshotFloor != 3 {
		t.Fatalf("%+v for %v", p, first)
	}
	w.report("1", protocol.Downloading, first...)
	w.until(r.ID, "downloading", func(r *rollout.Rollout) bool { return r.Counts().ByStatus[rollout.Downloading] == 1 })
	w.report("1", protocol.Committed, first...)
	w.until(r.ID, "half", func(r *rollout.Rollout) bool { return r.Stage == 1 })
	half := inCohort(w.policy(), 8)
	if len(half) != 4 || !slices.Contains(half, first[0]) {
		t.Fatalf("second stage %v after %v", half, first)
	}
	w.report("1", protocol.Committed, half...)
	w.until(r.ID, "all", func(r *rollout.Rollout) bool { return r.Stage == 2 })
	w.report("1", protocol.Committed, inCohort(w.policy(), 8)...)
	w.until(r.ID, "completed", func(r *rollout.Rollout) bool { return r.State == rollout.Completed })
	if p := w.policy(); p.Action != policy.Install || len(inCohort(p, 8)) != 8 {
		t.Fatalf("the policy of a completed rollout is %+v", p)
	}
}

func TestCanaryFails(t *testing.T) {
	w := newWorld(t, 8)
	r := w.create("1")
	w.report("1", protocol.Failed, inCohort(w.policy(), 8)...)
	r = w.until(r.ID, "aborted", func(r *rollout.Rollout) bool { return r.State == rollout.Aborted })
	if p := w.policy(); p.Action != policy.Hold || len(inCohort(p, 8)) != 1 {
		t.Fatalf("%+v", p)
	}
	if got := r.ByReason(rollout.Failed); len(got) != 1 || got[0].Reason != string(protocol.ReasonProbe) {
		t.Fatalf("%+v", got)
	}
}

// TestGoesOnAfterRestart stops the conductor in the middle. What devices report meanwhile is taken in when the next one
// begins, and sequence numbers go on rising.
func TestGoesOnAfterRestart(t *testing.T) {
	w := newWorld(t, 4)
	r := w.create("1", rollout.Stage{Count: 2}, rollout.Stage{Percent: 100})
	before := w.policy()
	w.stop()
	w.report("1", protocol.Committed, inCohort(before, 4)...)
	w.Device(t, "d-new", nil)
	w.conduct()
	r = w.until(r.ID, "the new one is seen", func(r *rollout.Rollout) bool { return r.Members["d-new"] != nil })
	if r.Members["d-new"].Stage == 0 { // its lot put it among the first
		w.report("1", protocol.Committed, "d-new")
	}
	w.until(r.ID, "the second stage", func(r *rollout.Rollout) bool { return r.Stage == 1 })
	if after := w.policy(); after.Seq <= before.Seq || len(inCohort(after, 4)) != 4 {
		t.Fatalf("seq %d after %d", after.Seq, before.Seq)
	}
}

func TestNewAndLeavingDevices(t *testing.T) {
	w := newWorld(t, 2)
	r := w.create("1", rollout.Stage{Percent: 100})
	w.Device(t, "late", nil)
	w.until(r.ID, "the late one is in", func(r *rollout.Rollout) bool { return r.Members["late"] != nil && r.Members["late"].Stage == 0 })
	if _, err := w.Reject(t.Context(), "late"); err != nil {
		t.Fatal(err)
	}
	w.until(r.ID, "it is out", func(r *rollout.Rollout) bool { return r.Members["late"].Reason == rollout.ExcludedLeft })
	w.report("1", protocol.Committed, name(0), name(1))
	w.until(r.ID, "completed", func(r *rollout.Rollout) bool { return r.State == rollout.Completed })
}

func TestSignsAgainDaily(t *testing.T) {
	w := newWorld(t, 1)
	w.create("1")
	before := w.policy()
	w.stop()
	w.mu.Lock()
	w.now = w.now.Add(25 * time.Hour)
	w.mu.Unlock()
	w.conduct()
	deadline := time.Now().Add(5 * time.Second)
	for w.policy().Seq == before.Seq {
		if time.Now().After(deadline) {
			t.Fatal("never signed again")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if p := w.policy(); !p.ExpiresAt.After(before.ExpiresAt) || p.Cohort.Below != before.Cohort.Below {
		t.Fatalf("%+v", p)
	}
}

func TestPeople(t *testing.T) {
	w := newWorld(t, 4)
	ctx := t.Context()
	refused := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	_, _, err := w.c.Create(ctx, rollout.Spec{Product: "gw", Version: "none"}, "ann", false)
	refused(err, store.ErrNotFound)
	_, _, err = w.c.Create(ctx, rollout.Spec{Product: "gw", Version: "yanked"}, "ann", false)
	refused(err, conductor.ErrState)
	_, _, err = w.c.Create(ctx, rollout.Spec{Product: "gw", Version: "1", Group: "nobody"}, "ann", false)
	refused(err, fleet.ErrGroup)
	_, _, err = w.c.Create(ctx, rollout.Spec{Product: "GW!", Version: "1"}, "ann", false)
	refused(err, rollout.ErrSpec)

	dry, _, err := w.c.Create(ctx, rollout.Spec{Product: "gw", Version: "1"}, "ann", true)
	if err != nil || dry.ID != "" || dry.StageCounts(0).Total != 1 || dry.Counts().Total != 4 {
		t.Fatalf("dry run: %+v, %v", dry, err)
	}
	if all, _ := w.c.List(ctx); len(all) != 0 {
		t.Fatal("a dry run was stored")
	}

	r := w.create("1")
	_, _, err = w.c.Create(ctx, rollout.Spec{Product: "gw", Version: "2"}, "ann", false)
	refused(err, conductor.ErrBusy)
	_, _, err = w.c.Act(ctx, r.ID, conductor.Resume, "ann", "")
	refused(err, conductor.ErrState)
	_, _, err = w.c.Act(ctx, r.ID, "explode", "ann", "")
	refused(err, conductor.ErrState)
	_, _, err = w.c.Act(ctx, "rol_none", conductor.Pause, "ann", "")
	refused(err, store.ErrNotFound)
	for _, action := range []string{conductor.Pause, conductor.Resume, conductor.Promote, conductor.Abort} {
		if r, _, err = w.c.Act(ctx, r.ID, action, "ann", "because"); err != nil {
			t.Fatalf("%s: %v", action, err)
		}
	}
	if r.State != rollout.Aborted || r.Stage != 1 || w.policy().Action != policy.Hold {
		t.Fatalf("%s in stage %d", r.State, r.Stage)
	}
	second := w.create("2")
	_, _, err = w.c.Act(ctx, r.ID, conductor.Abort, "ann", "")
	refused(err, conductor.ErrState)
	all, err := w.c.List(ctx)
	if err != nil || !slices.Equal(all, []string{second.ID, r.ID}) {
		t.Fatalf("%v, %v", all, err)
	}
	old, _, err := w.c.Get(ctx, r.ID) // it governs no more, so it comes from the store
	if err != nil || len(old.Members) != 4 {
		t.Fatalf("%+v, %v", old, err)
	}
}
