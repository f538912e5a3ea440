package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/boot"
	"github.com/waxwing-ota/waxwing/agent/boot/envfile"
	"github.com/waxwing-ota/waxwing/agent/boot/uboot"
	"github.com/waxwing-ota/waxwing/agent/install/slot"
	"github.com/waxwing-ota/waxwing/agent/journal"
	"github.com/waxwing-ota/waxwing/agent/link"
	"github.com/waxwing-ota/waxwing/agent/origin"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/agent/update"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// ErrReboot is what Run returns when a virtual device reboots: the caller runs the program again.
var ErrReboot = errors.New("reboot")

// ErrRunning says that another process runs this device.
var ErrRunning = errors.New("another agent runs with this configuration; stop it first")

// Options of an Agent.
type Options struct {
	Config   *Config
	Identity *Identity
	Version  string // of the agent, for reports
	// Neighbors makes the mesh; nil: everything comes from the origin.
	Neighbors func(Sources) (Neighbors, error)
	Now       func() time.Time
	Log       *slog.Logger
}

// Agent is a device's program.
type Agent struct {
	Options
	slots     *slot.Slots
	trust     *trust.Trust
	origin    *origin.Client
	link      *link.Link
	neighbors Neighbors
	site      *site
	offences  *offences
	limits    limits
	keeper    *keeper // nil: this is no depot
	journal   *journal.Journal
	state     *update.State // owned by loop

	events chan update.Event
	wishes chan struct{} // what trust desires may have changed; buffer of one
	hurry  chan struct{} // ask by HTTPS soon; buffer of one

	// Set when Run begins, before any goroutine.
	loader boot.Loader
	bootID string
	slot   string // that runs

	reporter *reporter
	accepts  acceptance
	job      *job                               // owned by loop
	plans    plans                              //
	passed   passed                             //
	wanted   atomic.Pointer[firmware.Component] // whose index is being fetched
	running  *content                           // of the slot that runs; nil: not known. Set when loop begins
	shares   map[string]func()                  // slot → stop sharing; owned by the jobs, one at a time
	sharing  sync.Mutex                         //
	meter    meter                              // owned by loop
}

// New opens what the device has stored and wires the parts. Nothing is contacted and nothing starts before Run.
func New(o Options) (*Agent, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := o.Config
	if got := o.Identity.Device(); got != c.Device {
		return nil, fmt.Errorf("the certificate is of %q, the configuration of %q; enrol this device again", got, c.Device)
	}
	a := &Agent{
		Options: o, events: make(chan update.Event), wishes: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		shares: map[string]func(){},
	}
	state := c.Path(stateDir)
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, err
	}
	a.passed.dir, a.passed.log = state, o.Log
	var err error
	if c.Depot != nil {
		a.keeper, err = newKeeper(a)
	} else {
		a.slots, err = slot.Open(slot.Options{Dir: filepath.Join(state, "slots"), Slots: c.SlotPaths()})
	}
	if err != nil {
		return nil, err
	}
	if a.origin, err = origin.New(origin.Options{Server: c.Server, TLS: o.Identity.TLS()}); err != nil {
		return nil, err
	}
	root, err := atomicfile.Read(c.Path(RootFile), 1<<20)
	if err != nil {
		return nil, fmt.Errorf("trust: %w; enrol this device, or put the TUF root there", err)
	}
	a.trust, err = trust.Open(trust.Options{
		Dir: filepath.Join(state, "trust"), Root: root, Device: c.Device, Hardware: c.fits(), Fetch: repository{a}, Now: o.Now, Built: built(),
		Near: func(ctx context.Context, sum firmware.Digest, limit int64) ([]byte, error) {
			return a.neighbors.Object(ctx, sum, limit)
		},
	})
	if a.trust == nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	if err != nil {
		o.Log.Error("what was trusted is lost; beginning anew", "error", err)
	}
	a.link, err = link.New(link.Options{
		Device: c.Device, Brokers: c.Brokers, TLS: o.Identity.TLS(), KeepAlive: time.Duration(c.KeepaliveSeconds) * time.Second,
		Site: !c.Mesh.Off && !c.Mesh.Unlisted, Deliver: a.hear, Changed: a.connected, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	a.limits = openLimits(a)
	a.offences = newOffences(a)
	a.neighbors = Alone()
	if o.Neighbors != nil {
		sources := Sources{Objects: a.object, Received: a.origin.Bytes, Offended: a.offences.hear, Shut: a.limits.shut, Serve: a.limits.lan.Take, Closed: a.limits.closed}
		if a.neighbors, err = o.Neighbors(sources); err != nil {
			return nil, fmt.Errorf("mesh: %w", err)
		}
	}
	a.site = newSite(a)
	a.reporter = newReporter(a)
	return a, nil
}

// built is when the program's sources were committed: no time before that is believed. Zero: nobody knows.
func built() (at time.Time) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				at, _ = time.Parse(time.RFC3339, s.Value)
			}
		}
	}
	return at
}

// Run does the device's work until ctx ends (nil), the device reboots (ErrReboot), or the state cannot be stored.
func (a *Agent) Run(ctx context.Context) error {
	unlock, err := lock(a.Config.Path(stateDir))
	if err != nil {
		return err
	}
	defer unlock()
	work := a.loop
	if a.keeper != nil {
		work = a.keeper.run
	} else if err := a.powerOn(ctx); err != nil {
		return err
	}
	if err := a.restore(); err != nil {
		return err
	}
	a.passed.load()
	defer a.limits.close()
	defer a.origin.Close()
	if a.keeper == nil {
		defer a.unshareAll()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{
		work, a.link.Run, a.mingle, a.poll, a.reporter.run, a.renew, a.site.run, a.offences.run,
	} {
		g.Go(func() error { return run(ctx) })
	}
	err = g.Wait()
	if errors.Is(err, context.Canceled) && !errors.Is(err, ErrReboot) {
		return nil
	}
	return err
}

// powerOn finds out which slot runs.
func (a *Agent) powerOn(ctx context.Context) error {
	c := a.Config
	if c.Virtual() {
		running, err := envfile.PowerOn(c.Path(c.Boot.Path))
		if err != nil {
			return err
		}
		id := make([]byte, 8)
		_, _ = rand.Read(id) // never fails
		a.bootID = hex.EncodeToString(id)
		a.loader, err = envfile.Open(c.Path(c.Boot.Path), running)
		a.slot = running
		return err
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("boot: %w; is /proc mounted?", err)
	}
	a.bootID = strings.TrimSpace(string(id))
	if a.loader, err = OpenLoader(c); err != nil {
		return err
	}
	if a.slot, err = a.loader.Active(ctx); err != nil {
		return err
	}
	if !slices.Contains(a.slots.Names(), a.slot) {
		return fmt.Errorf("slot %q runs, which is not among the configured slots %v", a.slot, a.slots.Names())
	}
	return nil
}

// OpenLoader returns the boot loader of a device that is not virtual.
func OpenLoader(c *Config) (boot.Loader, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, fmt.Errorf("boot: %w; is /proc mounted?", err)
	}
	active, err := boot.FromCommandLine(string(line))
	if err != nil {
		return nil, err
	}
	if c.Boot.Kind == BootUboot {
		return uboot.New(uboot.Options{Active: active}), nil
	}
	return envfile.Open(c.Path(c.Boot.Path), active)
}

// restore reads the journal. A state that cannot be read is given up: the slots and the policy say what to do.
func (a *Agent) restore() error {
	j, b, err := journal.Open(journal.Options{Dir: a.Config.Path(stateDir), Name: "update", Now: a.Now})
	if err != nil {
		return err
	}
	a.journal, a.state = j, new(update.State)
	if b != nil {
		if a.state, err = update.Decode(b); err != nil {
			a.Log.Error("the update's state is lost; beginning anew", "error", err)
			a.state = new(update.State)
		}
	}
	a.meter.start(a, a.state.Bytes)
	return nil
}

// loop owns the state: it takes events one by one, stores what they lead to, and then acts.
func (a *Agent) loop(ctx context.Context) error {
	trial, err := a.loader.Trial(ctx)
	if err != nil {
		return err
	}
	held, err := a.slots.Holds(a.slot)
	if err != nil {
		a.Log.Info("the running slot was not installed by Waxwing", "slot", a.slot)
	}
	a.Log.Info("started", "slot", a.slot, "version", held.Version, "trial", trial == a.slot)
	defer a.endJob()
	a.running = a.share(a.slot)
	if err := a.step(ctx, update.Booted{Slot: a.slot, Boot: a.bootID, Trial: trial == a.slot, SHA256: held.Manifest}); err != nil {
		return err
	}
	a.look()
	recheck := time.NewTicker(5 * time.Minute) // a policy may expire without anybody saying so
	defer recheck.Stop()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	for {
		wake.Reset(time.Hour)
		if at := a.state.Wake(a.Now()); !at.IsZero() {
			wake.Reset(max(at.Sub(a.Now()), 10*time.Millisecond))
		}
		var e update.Event
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e = <-a.events:
		case <-wake.C:
			e = update.Ticked{}
		case <-recheck.C:
			e = update.Desired{Wish: a.wish()}
		case <-a.wishes:
			e = update.Desired{Wish: a.wish()}
		}
		if err := a.step(ctx, e); err != nil {
			return err
		}
	}
}

// step stores first, then acts. Progress alone is not worth a write to flash.
func (a *Agent) step(ctx context.Context, e update.Event) error {
	before := a.state.Phase
	effects := a.state.Step(e, a.Now())
	if _, minor := e.(update.Progressed); !minor {
		if err := a.store(); err != nil {
			return err
		}
	}
	if a.state.Phase != before {
		a.Log.Info("update", "phase", a.state.Phase, "version", a.version(), "reason", a.state.Reason, "detail", a.state.Detail)
		if u := a.state.Update(); u.Final() || a.state.Phase == protocol.Idle {
			debug.FreeOSMemory() // what the work needed goes back to the device
		}
	}
	urgent := false
	for _, e := range effects {
		if _, ok := e.(update.Report); ok {
			urgent = true
			continue
		}
		a.do(ctx, e)
	}
	a.reporter.note(a.snapshot(), urgent)
	return nil
}

func (a *Agent) store() error {
	b, err := a.state.Encode()
	if err != nil {
		return err
	}
	return a.journal.Save(b)
}

func (a *Agent) version() string {
	if a.state.Target == nil {
		return ""
	}
	return a.state.Target.Release.Version
}

// wish is what the signed policy says of this device now.
func (a *Agent) wish() update.Wish {
	p := a.trust.Desired()
	if p == nil || p.Action != policy.Install || p.Release == nil || !p.Cohort.Includes(a.Config.Device) {
		return update.Wish{}
	}
	return update.Wish{Install: true, Target: &update.Target{
		Audience: p.Audience.String(), Policy: p.Seq, Rollout: p.Rollout, Release: *p.Release, Window: p.Window,
		Health: p.Health, SnapshotFloor: p.SnapshotFloor,
	}}
}

// look makes the loop ask for the wish again.
func (a *Agent) look() {
	select {
	case a.wishes <- struct{}{}:
	default:
	}
}

// snapshot is the report of now, but for its number and time.
func (a *Agent) snapshot() protocol.Report {
	near, _ := a.neighbors.Sight()
	r := protocol.Report{
		Schema: 1, Device: a.Config.Device, Agent: a.Version, Hardware: a.Config.Hardware,
		Running: protocol.Running{Slot: a.slot}, Update: a.state.Update(), Neighbors: near, Limits: a.limits.list(),
	}
	if r.Update != nil {
		r.Update.Bytes.Served = a.meter.serves(a) // goes on after the update
	}
	if a.keeper != nil {
		a.site.report(&r)
		r.Mesh.Depot, r.Offences = a.keeper.report(), a.offences.list()
		return r
	}
	if held, err := a.slots.Holds(a.slot); err == nil {
		r.Running.Product, r.Running.Version = held.Product, held.Version
		r.Running.Counter, r.Running.SHA256 = held.Counter, held.Manifest
	}
	a.site.report(&r)
	r.Offences = a.offences.list()
	return r
}

// send hands an event to the loop, unless everything ends.
func (a *Agent) send(ctx context.Context, e update.Event) {
	select {
	case <-ctx.Done():
	case a.events <- e:
	}
}

// indexOf names a swarm: the digest of the encoded index.
func indexOf(x *firmware.Index) firmware.Digest { return firmware.Sum(x.Encode()) }
