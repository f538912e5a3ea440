package agent

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/agent/boot"
	"github.com/waxwing-ota/waxwing/agent/health"
	"github.com/waxwing-ota/waxwing/agent/install"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/agent/update"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
	"github.com/waxwing-ota/waxwing/firmware/remote"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

const (
	rebootPatience = 5 * time.Minute        // that a reboot command may take until it is run again
	lingerMost     = 15 * time.Second       // that a reboot waits for neighbours
	lingerQuiet    = 400 * time.Millisecond // without a byte for any of them
)

// job is the one piece of work under way.
type job struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// plan is a verified release as a device needs it to write a slot.
type plan struct {
	manifest  *firmware.Manifest
	component firmware.Component
	index     *firmware.Index
}

// plans keeps the newest plan.
type plans struct {
	mu  sync.Mutex
	of  firmware.Digest
	own *plan

	remote   *remote.Remote  // of the newest payload
	remoteOf firmware.Digest // its digest
}

// do begins an effect. Of jobs there is one at a time: a new one waits until the old one has let go of the slot.
func (a *Agent) do(ctx context.Context, e update.Effect) {
	switch e := e.(type) {
	case update.Cancel:
		if a.job != nil {
			a.job.cancel()
		}
	case update.Keep:
		if err := a.loader.MarkGood(ctx, e.Slot); err != nil {
			a.Log.Error("the running slot could not be marked good", "slot", e.Slot, "error", err)
		}
	case update.Check:
		a.meter.start(a, a.state.Bytes)
		a.begin(ctx, func(ctx context.Context) update.Event { return a.check(ctx, e) })
	case update.Assemble:
		m, t := a.meter, newTally(a.state.Sources)
		a.begin(ctx, func(ctx context.Context) update.Event { return a.assemble(ctx, e, m, t) })
	case update.Arm:
		a.begin(ctx, func(ctx context.Context) update.Event {
			if err := a.loader.ArmTrial(ctx, e.Slot, e.Tries); err != nil {
				return failed(e.Job, protocol.ReasonBoot, err, true)
			}
			return update.Armed{Job: e.Job}
		})
	case update.Reboot:
		a.begin(ctx, func(ctx context.Context) update.Event {
			a.linger(ctx)
			return a.reboot(ctx, e.Job)
		})
	case update.Probe:
		a.begin(ctx, func(ctx context.Context) update.Event { return a.probe(ctx, e) })
	case update.Confirm:
		a.begin(ctx, func(ctx context.Context) update.Event {
			if err := a.loader.MarkGood(ctx, e.Slot); err != nil {
				return failed(e.Job, protocol.ReasonBoot, err, true)
			}
			if err := a.trust.Commit(e.Target.Release.Product, e.Target.Release.Counter); err != nil {
				return failed(e.Job, protocol.ReasonStorage, err, true)
			}
			return update.Confirmed{Job: e.Job}
		})
	case update.Revert:
		a.begin(ctx, func(ctx context.Context) update.Event {
			if err := a.loader.MarkBad(ctx, e.Slot); err != nil {
				return failed(e.Job, protocol.ReasonBoot, err, true)
			}
			return a.reboot(ctx, e.Job)
		})
	}
}

// begin runs one job after the one before has ended, and hands its result to the loop. The goroutine ends with endJob at
// the latest, which loop calls when it leaves.
func (a *Agent) begin(ctx context.Context, work func(context.Context) update.Event) {
	before := a.job
	mine, cancel := context.WithCancel(ctx)
	j := &job{cancel: cancel, done: make(chan struct{})}
	a.job = j
	go func() {
		defer close(j.done)
		defer cancel()
		if before != nil {
			before.cancel()
			<-before.done
		}
		e := work(mine)
		if mine.Err() == nil && e != nil {
			a.send(mine, e)
		}
	}()
}

// endJob stops the job and waits for it.
func (a *Agent) endJob() {
	if a.job != nil {
		a.job.cancel()
		<-a.job.done
	}
}

func (a *Agent) check(ctx context.Context, e update.Check) update.Event {
	if err := a.trust.Refresh(ctx); err != nil {
		return judged(e.Job, err)
	}
	p, err := a.plan(ctx, e.Target)
	if err != nil {
		return judged(e.Job, err)
	}
	if _, err := a.Config.probes(e.Target.Health.Probes); err != nil {
		return failed(e.Job, protocol.ReasonProbe, err, false)
	}
	other, err := boot.Other(a.slots.Names(), a.slot)
	if err != nil {
		return failed(e.Job, protocol.ReasonBoot, err, false)
	}
	return update.Checked{Job: e.Job, Slot: other, Size: p.component.Size}
}

// errComponents says that a release has more parts than this device has places.
var errComponents = errors.New("this device has one pair of slots, so it takes releases of one component")

// plan verifies manifest and index, or returns those of the same release from before.
func (a *Agent) plan(ctx context.Context, t update.Target) (*plan, error) {
	a.plans.mu.Lock()
	defer a.plans.mu.Unlock()
	m, err := a.trust.Manifest(ctx, &policy.Policy{Release: &t.Release, SnapshotFloor: t.SnapshotFloor})
	if errors.Is(err, trust.ErrUnwanted) { // the policy ended, or its key was revoked: what is wished has changed
		a.look()
	}
	if err != nil {
		return nil, err
	}
	if a.plans.own != nil && a.plans.of == t.Release.SHA256 {
		return a.plans.own, nil
	}
	if len(m.Components) != 1 || m.Components[0].Handler != firmware.HandlerSlot {
		return nil, fmt.Errorf("%s %s has %d components: %w", m.Product, m.Version, len(m.Components), errComponents)
	}
	a.wanted.Store(&m.Components[0])
	defer a.wanted.Store(nil)
	index, err := a.trust.Index(ctx, m, m.Components[0].Name)
	if err != nil {
		return nil, err
	}
	a.plans.of, a.plans.own = t.Release.SHA256, &plan{manifest: m, component: m.Components[0], index: index}
	return a.plans.own, nil
}

func (a *Agent) probe(ctx context.Context, e update.Probe) update.Event {
	probes, err := a.Config.probes(e.Target.Health.Probes)
	if err != nil {
		return failed(e.Job, protocol.ReasonProbe, err, false)
	}
	limited, cancel := context.WithTimeout(ctx, e.For)
	defer cancel()
	err = health.Run(limited, health.Options{
		Probes: probes, MQTT: a.link.Reached, Server: func() bool { return a.link.Reached() || a.origin.Reached() },
		Env: []string{
			"WAXWING_SLOT=" + e.Slot, "WAXWING_SLOT_PATH=" + a.slots.Path(e.Slot), "WAXWING_VERSION=" + e.Target.Release.Version,
		},
	})
	var f *health.Failure
	switch {
	case err == nil:
		return update.ProbesPassed{Job: e.Job}
	case errors.As(err, &f) && f.Deadline:
		return failed(e.Job, protocol.ReasonDeadline, err, false)
	}
	return failed(e.Job, protocol.ReasonProbe, err, false)
}

// linger waits while neighbours take chunks: what they lose with this device they would have to ask the server for.
func (a *Agent) linger(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lingerMost)
	defer cancel()
	quiet := time.NewTicker(lingerQuiet)
	defer quiet.Stop()
	_, before := a.neighbors.Sight()
	for {
		select {
		case <-ctx.Done():
			return
		case <-quiet.C:
		}
		_, now := a.neighbors.Sight()
		if now == before {
			return
		}
		before = now
	}
}

// reboot reports first, for a moment, because the next word may come late or never.
func (a *Agent) reboot(ctx context.Context, id uint64) update.Event {
	a.reporter.flush(ctx, 2*time.Second)
	if a.Config.Virtual() {
		a.reporter.stopWith(ErrReboot)
		return nil
	}
	argv := a.Config.reboot()
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return failed(id, protocol.ReasonBoot, fmt.Errorf("%s: %w: %.200s", argv[0], err, out), true)
	}
	wait := time.NewTimer(rebootPatience)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-wait.C:
		return failed(id, protocol.ReasonBoot, fmt.Errorf("%s has not rebooted the machine within %s", argv[0], rebootPatience), true)
	}
}

func failed(id uint64, reason protocol.Reason, err error, transient bool) update.FailedJob {
	return update.FailedJob{Job: id, Reason: reason, Detail: err.Error(), Transient: transient}
}

// judged turns an error of signing/trust, assemble or install into a failure. What may pass by itself, such as a server
// that cannot be reached or a cache that lags behind, is transient; a refusal is not.
func judged(id uint64, err error) update.FailedJob {
	for _, c := range []struct {
		is     error
		reason protocol.Reason
		passes bool
	}{
		{trust.ErrHardware, protocol.ReasonHardware, false},
		{errComponents, protocol.ReasonHardware, false},
		{trust.ErrCounter, protocol.ReasonCounter, false},
		{trust.ErrEquivocation, protocol.ReasonUntrusted, false},
		{trust.ErrUntrusted, protocol.ReasonUntrusted, false},
		{trust.ErrMismatch, protocol.ReasonPlaneMismatch, false},
		{trust.ErrRollback, protocol.ReasonUntrusted, true}, // the repository may be a moment behind the policy
		{trust.ErrExpired, protocol.ReasonUntrusted, true},
		{install.ErrTooLarge, protocol.ReasonTooLarge, false},
		{install.ErrRunning, protocol.ReasonStorage, false},
		{firmware.ErrMalformed, protocol.ReasonUntrusted, false},
		{firmware.ErrTooLarge, protocol.ReasonUntrusted, false},
	} {
		if errors.Is(err, c.is) {
			return failed(id, c.reason, err, c.passes)
		}
	}
	return failed(id, protocol.ReasonDownload, err, true)
}

// errStorage marks errors of the slot, apart from those of the network.
var errStorage = errors.New("the slot could not be written")

var _ assemble.Target = install.Place(nil)
