package rollout

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// Event is something that happened; one of the types below.
type Event any

// Events.
type (
	Started struct{ Candidates []Candidate } // the first event
	Joined  struct{ Candidate Candidate }    // a device came into the group
	Left    struct{ Device string }          // a device left the group or the fleet
	// Reported says where a device stands now; see [Rollout.Standing].
	Reported struct {
		Device string
		Status Status
		Reason string
		Detail string
		Bytes  protocol.Bytes
		Millis map[protocol.Phase]int64
	}
	Ticked   struct{}                    // time passed
	Halted   struct{ By, Reason string } // a person pauses
	Resumed  struct{ By, Reason string } // a person resumes
	Promoted struct{ By, Reason string } // a person opens the next stage, whatever the gate says
	Stopped  struct{ By, Reason string } // a person aborts
)

// Effect is something for the caller to do, after it has stored the rollout; one of the types below.
type Effect any

// Effects.
type (
	Record  struct{ Device string } // store this member
	Publish struct{}                // sign and publish Policy
	Decided struct{ Decision }      // tell people
)

// itself is who decides when nobody did.
const itself = "waxwing"

// Ended reports whether the rollout is over. Its state, stage and cohort then never change; members are still recorded.
func (r *Rollout) Ended() bool { return r.State == Completed || r.State == Aborted }

// Step applies an event. The caller stores the rollout and the members named by Record, then does the rest.
func (r *Rollout) Step(event Event, now time.Time) []Effect {
	var out []Effect
	switch e := event.(type) {
	case Started:
		if r.State != "" {
			return nil
		}
		r.State, r.Members = Running, make(map[string]*Member, len(e.Candidates))
		r.Cohort.Salt = r.ID
		for _, c := range e.Candidates {
			out = append(out, r.join(c, now)...)
		}
		out = append(out, r.open(0, now)...)
	case Joined:
		out = r.join(e.Candidate, now)
	case Left:
		if m, ok := r.Members[e.Device]; ok && m.Status != Succeeded && m.Status != Failed {
			out = r.set(e.Device, Excluded, ExcludedLeft, now)
		}
	case Reported:
		out = r.report(e, now)
	case Halted:
		if r.State == Running {
			r.State = Paused
			out = append(r.decide(now, e.By, "paused", e.Reason), Publish{})
		}
	case Resumed:
		if r.State == Paused {
			r.State = Running
			out = append(r.decide(now, e.By, "resumed", e.Reason), Publish{})
		}
	case Promoted:
		if r.State == Running {
			out = append(r.decide(now, e.By, fmt.Sprintf("promoted past stage %d", r.Stage+1), e.Reason), r.pass(now)...)
		}
	case Stopped:
		if !r.Ended() {
			out = r.end(Aborted, now, e.By, "aborted", e.Reason)
		}
	}
	return append(out, r.advance(now)...)
}

// join takes a device in, or in again after it left.
func (r *Rollout) join(c Candidate, now time.Time) []Effect {
	if m, ok := r.Members[c.ID]; ok && (m.Status != Excluded || m.Reason != ExcludedLeft) || r.Ended() {
		return nil
	}
	m := &Member{Stage: NotOpen, Status: Pending, Since: now}
	switch {
	case !slices.Contains(r.Hardware, c.Hardware):
		m.Status, m.Reason = Excluded, ExcludedHardware
	case c.Running == r.Release.SHA256:
		m.Status = Succeeded
	case c.Product == r.Spec.Product && c.Counter > r.Release.Counter:
		m.Status, m.Reason = Excluded, ExcludedNewer
	}
	if m.Status != Excluded && len(r.Opened) > 0 && r.Cohort.Includes(c.ID) {
		m.Stage = r.Stage
	}
	r.Members[c.ID] = m
	return []Effect{Record{Device: c.ID}}
}

func (r *Rollout) set(device string, s Status, reason string, now time.Time) []Effect {
	m := r.Members[device]
	m.Status, m.Reason, m.Since = s, reason, now
	return []Effect{Record{Device: device}}
}

func (r *Rollout) report(e Reported, now time.Time) []Effect {
	m, ok := r.Members[e.Device]
	if !ok || m.Status == Excluded {
		return nil
	}
	// A device that has failed is done, unless it makes it after all; one that has succeeded is done.
	if m.Status == Succeeded || (m.Status == Failed && e.Status != Failed && e.Status != Succeeded) {
		return nil
	}
	same := m.Status == e.Status && m.Reason == e.Reason && m.Detail == e.Detail && m.Bytes == e.Bytes &&
		maps.Equal(m.Millis, e.Millis)
	if same || e.Status == Pending {
		return nil
	}
	if m.Status != e.Status {
		m.Since = now
	}
	m.Status, m.Reason, m.Detail, m.Bytes, m.Millis = e.Status, e.Reason, e.Detail, e.Bytes, e.Millis
	return []Effect{Record{Device: e.Device}}
}

// advance lets the rollout decide for itself: stop, open the next stage, complete.
func (r *Rollout) advance(now time.Time) []Effect {
	var out []Effect
	for !r.Ended() && len(r.Opened) > 0 {
		c := r.openCounts()
		failed := c.ByStatus[Failed]
		limit := r.Spec.Abort
		if failed >= limit.Failures && failed*100 >= limit.FailurePercent*c.Total && failed > 0 {
			reason := fmt.Sprintf("%d of %d devices failed; it stops at %d %%", failed, c.Total, limit.FailurePercent)
			if limit.Failures > 1 {
				reason += fmt.Sprintf(", from %d on", limit.Failures)
			}
			return append(out, r.end(Aborted, now, itself, "aborted", reason)...)
		}
		if c.ByStatus[Succeeded]*100 < r.Spec.Stages[r.Stage].Gate.SuccessPercent*c.Total {
			r.MetAt = time.Time{}
			return out
		}
		if r.MetAt.IsZero() {
			r.MetAt = now
		}
		if r.State != Running || r.Gate(now) != GateOpen {
			return out
		}
		out = append(out, r.pass(now)...)
	}
	return out
}

// pass leaves the open stage for the next one, or completes the rollout.
func (r *Rollout) pass(now time.Time) []Effect {
	r.Passed = append(r.Passed, now)
	if r.Stage == len(r.Spec.Stages)-1 {
		c := r.openCounts()
		return r.end(Completed, now, itself, "completed", fmt.Sprintf("%d of %d devices run it", c.ByStatus[Succeeded], c.Total))
	}
	return r.open(r.Stage+1, now)
}

// open widens the cohort to a stage and takes its devices in.
func (r *Rollout) open(stage int, now time.Time) []Effect {
	r.Stage, r.MetAt = stage, time.Time{}
	r.Opened = append(r.Opened, now)
	r.Cohort = r.widened(r.Cohort, stage)
	var out []Effect
	came := 0
	for _, id := range slices.Sorted(maps.Keys(r.Members)) {
		m := r.Members[id]
		if m.Stage == NotOpen && m.Status != Excluded && r.Cohort.Includes(id) {
			m.Stage, m.Since = stage, now
			came++
			out = append(out, Record{Device: id})
		}
	}
	text := fmt.Sprintf("opened stage %d of %d (%s)", stage+1, len(r.Spec.Stages), r.Spec.Stages[stage].Name())
	return append(append(out, r.decide(now, itself, text, fmt.Sprintf("%d came in", came))...), Publish{})
}

// widened returns the cohort with a stage in it; it never holds fewer devices than before.
func (r *Rollout) widened(c policy.Cohort, stage int) policy.Cohort {
	s := r.Spec.Stages[stage]
	var able []string
	for id, m := range r.Members {
		if m.Status != Excluded {
			able = append(able, id)
		}
	}
	want := s.Count
	if s.Percent > 0 {
		want = (len(able)*s.Percent + 99) / 100
	}
	if s.Percent == 100 {
		c.Below = policy.Everyone
	} else if want > 0 {
		c.Below = max(c.Below, policy.Choose(c.Salt, able, want))
	}
	c.Devices = slices.Clone(c.Devices)
	for _, d := range s.Devices {
		if !slices.Contains(c.Devices, d) {
			c.Devices = append(c.Devices, d)
		}
	}
	return c
}

func (r *Rollout) end(s State, now time.Time, by, what, reason string) []Effect {
	r.State, r.EndedAt = s, now
	return append(r.decide(now, by, what, reason), Publish{})
}

func (r *Rollout) decide(now time.Time, by, what, reason string) []Effect {
	d := Decision{At: now, By: by, Text: what}
	if reason != "" {
		d.Text += ": " + reason
	}
	r.Decisions = append(r.Decisions, d)
	return []Effect{Decided{d}}
}
