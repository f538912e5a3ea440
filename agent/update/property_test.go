package update

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// device is what a State acts upon: two slots and a loader, with power that may go at any moment.
type device struct {
	state   *State
	stored  []byte // what the power cut leaves
	slots   map[string]firmware.Digest
	running string
	boot    int
	order   []string // the loader's
	left    map[string]int
	trial   string
	counter uint64
	pending []Effect
	now     time.Time
}

func newDevice() *device {
	return &device{
		state: new(State), slots: map[string]firmware.Digest{"a": digest("1.0")}, running: "a", order: []string{"a"},
		left: map[string]int{"a": 3}, now: dawn,
	}
}

// step persists, and only then lets effects happen.
func (d *device) step(t *rapid.T, e Event) {
	before := d.state.Phase
	effects := d.state.Step(e, d.now)
	b, err := d.state.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(b)
	if err != nil {
		t.Fatalf("a state of our own is refused: %v\n%s", err, b)
	}
	if diff := cmp.Diff(d.state.Update(), back.Update()); diff != "" {
		t.Fatal("storing changes the state: " + diff)
	}
	d.stored = b
	for _, e := range effects {
		switch e.(type) {
		case Cancel:
			d.pending = nil
		case Report:
		default:
			d.pending = append(d.pending, e)
		}
	}
	if d.state.Phase == protocol.Committed && before != protocol.Committed {
		if got := d.slots[d.running]; got != d.state.Target.Release.SHA256 {
			t.Fatalf("committed to %s while slot %s holds something else", d.state.Target.Release.Version, d.running)
		}
	}
}

// powerOn starts the machine as a loader does and tells the State.
func (d *device) powerOn(t *rapid.T) {
	d.pending = nil
	d.boot++
	i := slices.IndexFunc(d.order, func(s string) bool { return d.left[s] > 0 })
	if i < 0 {
		for s := range d.left {
			d.left[s] = 3
		}
		i = 0
	}
	d.running = d.order[i]
	if _, bootable := d.slots[d.running]; !bootable {
		t.Fatalf("the loader starts slot %s, which was being written", d.running)
	}
	d.left[d.running]--
	if d.trial != d.running {
		d.trial = ""
	}
	d.restart(t)
}

// restart is a new process in the same machine.
func (d *device) restart(t *rapid.T) {
	d.pending = nil
	if d.stored != nil {
		var err error
		if d.state, err = Decode(d.stored); err != nil {
			t.Fatal(err)
		}
	}
	d.step(t, Booted{Slot: d.running, Boot: string(rune('A' + d.boot)), SHA256: d.slots[d.running], Trial: d.trial == d.running})
}

func other(slot string) string {
	if slot == "a" {
		return "b"
	}
	return "a"
}

// act does one pending effect: it succeeds, fails, or the power goes before or after it.
func (d *device) act(t *rapid.T) {
	if len(d.pending) == 0 {
		return
	}
	e := d.pending[0]
	d.pending = d.pending[1:]
	outcome := rapid.SampledFrom([]string{"ok", "ok", "ok", "ok", "fail", "transient", "cut before", "cut after"}).Draw(t, "outcome")
	if outcome == "cut before" {
		d.powerOn(t)
		return
	}
	var job uint64
	var answer Event
	works := outcome == "ok" || outcome == "cut after"
	switch e := e.(type) {
	case Check:
		job, answer = e.Job, Checked{e.Job, other(d.running), 10}
	case Assemble:
		if e.Slot == d.running {
			t.Fatal("the running slot would be written")
		}
		delete(d.slots, e.Slot)
		if works {
			d.slots[e.Slot] = e.Target.Release.SHA256
		}
		job, answer = e.Job, Assembled{e.Job, protocol.Bytes{Done: 10}, []protocol.Source{{Why: protocol.WhyAlone, Bytes: 10}}}
	case Arm:
		if works {
			d.order, d.left[e.Slot], d.trial = []string{e.Slot, other(e.Slot)}, e.Tries, e.Slot
		}
		job, answer = e.Job, Armed{e.Job}
	case Reboot:
		job = e.Job
		if works {
			d.powerOn(t)
			return
		}
	case Probe:
		if e.For <= 0 || e.For > time.Minute {
			t.Fatalf("a proof of %s", e.For)
		}
		job, answer = e.Job, ProbesPassed{e.Job}
	case Confirm:
		if d.slots[d.running] != e.Target.Release.SHA256 || e.Slot != d.running {
			t.Fatal("something else than the target is confirmed")
		}
		if works {
			d.trial, d.left[e.Slot] = "", 3
			if d.counter > e.Target.Release.Counter {
				t.Fatal("the counter falls")
			}
		}
		job, answer = e.Job, Confirmed{e.Job}
	case Keep:
		if e.Slot != d.running {
			t.Fatal("a slot that does not run is kept")
		}
		d.left[e.Slot], d.trial = 3, ""
		return
	case Revert:
		job = e.Job
		if works {
			d.order, d.left[e.Slot], d.trial = []string{other(e.Slot)}, 0, ""
			d.powerOn(t)
			return
		}
	}
	switch outcome {
	case "ok":
		d.step(t, answer)
	case "cut after":
		d.powerOn(t)
	default:
		d.step(t, FailedJob{Job: job, Reason: protocol.ReasonDownload, Detail: "x", Transient: outcome == "transient"})
	}
}

func TestAnyPowerCutBootsOneOfTwoReleases(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDevice()
		d.powerOn(t)
		seq := uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			d.now = d.now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "pause")) * time.Second)
			switch rapid.SampledFrom([]string{"act", "act", "act", "act", "wish", "hold", "tick", "cut", "restart"}).Draw(t, "what") {
			case "act":
				d.act(t)
			case "wish":
				seq++
				target := wanted(rapid.SampledFrom([]string{"1.0", "1.1", "1.2"}).Draw(t, "version"), seq)
				target.Rollout = rapid.SampledFrom([]string{"", "r1", "r2"}).Draw(t, "rollout")
				if rapid.Bool().Draw(t, "windowed") {
					target.Window = &policy.Window{Start: 720, End: 722}
				}
				d.step(t, Desired{Wish{Install: true, Target: target}})
			case "hold":
				d.step(t, Desired{})
			case "tick":
				d.step(t, Ticked{})
			case "cut":
				d.powerOn(t)
			case "restart":
				d.restart(t)
			}
		}
	})
}

// TestAWishIsReached says that a device which is left in peace gets where the policy wants it, from whatever state.
func TestAWishIsReached(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDevice()
		d.powerOn(t)
		d.step(t, Desired{Wish{Install: true, Target: wanted("1.1", 1)}})
		for range rapid.IntRange(0, 30).Draw(t, "troubles") {
			d.act(t)
		}
		fresh := wanted("1.2", 2)
		fresh.Rollout = "r2"
		d.step(t, Desired{Wish{Install: true, Target: fresh}})
		for range 60 {
			d.now = d.now.Add(10 * time.Minute)
			d.step(t, Ticked{})
			for len(d.pending) > 0 {
				d.calm(t)
			}
		}
		if d.state.Phase != protocol.Committed || d.slots[d.running] != fresh.Release.SHA256 || d.trial != "" {
			t.Fatalf("it ended %s %s: %s", d.state.Phase, d.state.Reason, d.state.Detail)
		}
	})
}

// calm does one pending effect, which succeeds.
func (d *device) calm(t *rapid.T) {
	e := d.pending[0]
	d.pending = d.pending[1:]
	switch e := e.(type) {
	case Check:
		d.step(t, Checked{e.Job, other(d.running), 10})
	case Assemble:
		d.slots[e.Slot] = e.Target.Release.SHA256
		d.step(t, Assembled{e.Job, protocol.Bytes{Done: 10}, []protocol.Source{{Why: protocol.WhyAlone, Bytes: 10}}})
	case Arm:
		d.order, d.left[e.Slot], d.trial = []string{e.Slot, other(e.Slot)}, e.Tries, e.Slot
		d.step(t, Armed{e.Job})
	case Reboot:
		d.powerOn(t)
	case Probe:
		d.step(t, ProbesPassed{e.Job})
	case Confirm:
		d.trial, d.left[e.Slot] = "", 3
		d.step(t, Confirmed{e.Job})
	case Keep:
		d.left[e.Slot], d.trial = 3, ""
	case Revert:
		d.order, d.left[e.Slot], d.trial = []string{other(e.Slot)}, 0, ""
		d.powerOn(t)
	}
}

func TestRestingPhasesAbsorb(t *testing.T) {
	for _, p := range []protocol.Phase{protocol.Committed, protocol.Reverted, protocol.Failed} {
		s := &State{Phase: p, Target: wanted("1.1", 1), Running: Running{Slot: "a", Boot: "m1"}, Job: 5, Since: dawn}
		for _, e := range []Event{
			Checked{Job: 5, Slot: "b"},
			Assembled{Job: 5},
			Armed{5},
			ProbesPassed{5},
			Confirmed{5},
			Progressed{Job: 5},
			FailedJob{Job: 5},
			Ticked{},
			Desired{},
		} {
			if out := s.Step(e, dawn); len(out) != 0 || s.Phase != p {
				t.Errorf("%s: %T leads to %s with %d effects", p, e, s.Phase, len(out))
			}
		}
	}
}

func TestTimeIsBookedByPhase(t *testing.T) {
	s, now := new(State), dawn
	s.Step(Booted{Slot: "a", Boot: "m1"}, now)
	s.Step(Desired{Wish{Install: true, Target: wanted("1.1", 1)}}, now)
	s.Step(Checked{Job: s.Job, Slot: "b"}, now.Add(time.Second))
	s.Step(Assembled{Job: s.Job}, now.Add(4*time.Second))
	want := map[protocol.Phase]int64{protocol.Checking: 1000, protocol.Downloading: 3000}
	if diff := cmp.Diff(want, s.Millis); diff != "" {
		t.Error(diff)
	}
}

func FuzzDecode(f *testing.F) {
	s := &State{Phase: protocol.Proving, Target: wanted("1.1", 1), Slot: "b"}
	b, _ := s.Encode()
	f.Add(b)
	f.Add([]byte(`{"phase":"idle"}`))
	f.Add([]byte(`{"phase":"proving","slot":"b"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			return
		}
		s.Step(Booted{Slot: "a", Boot: "x", SHA256: digest("1.0")}, dawn)
		s.Step(Desired{Wish{Install: true, Target: wanted("1.1", 9)}}, dawn)
		s.Step(Ticked{}, dawn.Add(time.Hour))
		s.Wake(dawn)
	})
}

func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0, 1, 3, 4, 5, 10, 6, 7})
	f.Fuzz(func(t *testing.T, script []byte) {
		s, now := new(State), dawn
		for _, b := range script[:min(len(script), 200)] {
			now = now.Add(time.Duration(b) * time.Second)
			slot := []string{"a", "b"}[b/16%2]
			version := []string{"1.0", "1.1", "-"}[b/32%3]
			job := s.Job - uint64(b/128)
			var e Event
			switch b % 11 {
			case 0:
				e = Booted{Slot: slot, Boot: string(rune('A' + b/64)), SHA256: digest(version), Trial: b&64 != 0}
			case 1:
				e = Desired{Wish{Install: true, Target: wanted(version, uint64(b))}}
			case 2:
				e = Desired{}
			case 3:
				e = Checked{Job: job, Slot: slot}
			case 4:
				e = Assembled{Job: job}
			case 5:
				e = Armed{job}
			case 6:
				e = ProbesPassed{job}
			case 7:
				e = Confirmed{job}
			case 8:
				e = FailedJob{Job: job, Reason: protocol.ReasonDownload, Transient: b&64 != 0}
			case 9:
				e = Progressed{Job: job, Bytes: protocol.Bytes{Done: int64(b)}}
			default:
				e = Ticked{}
			}
			s.Step(e, now)
			enc, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Decode(enc); err != nil {
				t.Fatalf("after %T: %v", e, err)
			}
			known := !s.Running.SHA256.IsZero() && !s.Running.Trial
			if s.Phase == protocol.Committed && s.Running.SHA256 != s.Target.Release.SHA256 && known {
				t.Fatal("committed to what does not run")
			}
		}
	})
}
