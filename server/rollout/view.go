package rollout

import (
	"cmp"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// Gating is what the open stage waits for.
type Gating string

// What it can wait for.
const (
	GateOpen     Gating = ""         // nothing
	GateSuccess  Gating = "success"  // enough devices, and none of them on its way
	GateSoak     Gating = "soak"     // the soak time
	GateApproval Gating = "approval" // a person
)

// Gate returns what the open stage waits for. The last stage also waits until nobody is on the way.
func (r *Rollout) Gate(now time.Time) Gating {
	if r.Ended() || len(r.Opened) == 0 {
		return GateOpen
	}
	g := r.Spec.Stages[r.Stage].Gate
	last := r.Stage == len(r.Spec.Stages)-1
	switch {
	case r.MetAt.IsZero(), last && r.InFlight() > 0:
		return GateSuccess
	case now.Before(r.MetAt.Add(time.Duration(g.SoakSeconds) * time.Second)):
		return GateSoak
	case g.Approval:
		return GateApproval
	}
	return GateOpen
}

// Wake returns when Ticked may change something; zero: not before another event.
func (r *Rollout) Wake(now time.Time) time.Time {
	if r.State != Running || r.Gate(now) != GateSoak {
		return time.Time{}
	}
	return r.MetAt.Add(time.Duration(r.Spec.Stages[r.Stage].Gate.SoakSeconds) * time.Second)
}

// InFlight counts devices on their way.
func (r *Rollout) InFlight() int {
	c := r.openCounts()
	return c.ByStatus[Waiting] + c.ByStatus[Downloading] + c.ByStatus[Installing] + c.ByStatus[Rebooting] + c.ByStatus[Proving]
}

// Policy returns the policy that the state implies, unsigned: everything but Seq, times and floor.
func (r *Rollout) Policy() policy.Policy {
	release := r.Release
	p := policy.Policy{
		Schema: 1, Audience: policy.Audience{Kind: policy.ForGroup, Name: r.Spec.Group},
		Action: policy.Install, Rollout: r.ID, Release: &release, Cohort: r.Cohort, Window: r.Spec.Window, Health: r.Spec.Health,
	}
	if r.State == Paused || r.State == Aborted {
		p.Action = policy.Hold
	}
	return p
}

// Standing reads a device's report in the eyes of this rollout. What counts is what runs, not what is claimed: success is
// the release's own manifest in the running slot, proven.
func (r *Rollout) Standing(report *protocol.Report) Reported {
	e := Reported{Device: report.Device, Status: Pending}
	u := report.Update
	ours := u != nil && u.SHA256 == r.Release.SHA256
	if ours {
		e.Bytes, e.Millis = u.Bytes, u.Millis
	}
	if report.Running.SHA256 == r.Release.SHA256 && (!ours || u.Phase == protocol.Committed || u.Phase == protocol.Idle) {
		e.Status = Succeeded
		return e
	}
	if !ours {
		return e
	}
	switch u.Phase {
	case protocol.Checking, protocol.Downloading:
		e.Status = Downloading
	case protocol.Installing:
		e.Status = Installing
	case protocol.Waiting:
		e.Status = Waiting
	case protocol.Rebooting:
		e.Status = Rebooting
	case protocol.Proving:
		e.Status = Proving
	case protocol.Reverting, protocol.Reverted, protocol.Failed:
		e.Status, e.Reason, e.Detail = Failed, string(u.Reason), u.Detail
	}
	return e
}

// In returns whether a member belongs to a stage: it came in there or, before the stage opens, would come in now.
func (r *Rollout) In(stage int) func(id string, m *Member) bool {
	if stage < len(r.Opened) {
		return func(_ string, m *Member) bool { return m.Stage == stage }
	}
	before := r.Cohort
	for s := len(r.Opened); s < stage; s++ {
		before = r.widened(before, s)
	}
	after := r.widened(before, stage)
	return func(id string, m *Member) bool {
		return m.Stage == NotOpen && m.Status != Excluded && !before.Includes(id) && after.Includes(id)
	}
}

// StageCounts counts the devices of a stage, see In.
func (r *Rollout) StageCounts(stage int) Counts { return r.count(r.In(stage)) }

// Counts counts every device of the group.
func (r *Rollout) Counts() Counts { return r.count(func(string, *Member) bool { return true }) }

func (r *Rollout) openCounts() Counts {
	return r.count(func(_ string, m *Member) bool { return m.Stage != NotOpen && m.Status != Excluded })
}

func (r *Rollout) count(which func(string, *Member) bool) Counts {
	c := Counts{ByStatus: make(map[Status]int, 9)}
	for id, m := range r.Members {
		if which(id, m) {
			c.Total++
			c.ByStatus[m.Status]++
		}
	}
	return c
}

// Reasons is devices with one reason.
type Reasons struct {
	Reason  string
	Devices int
	Example string // detail of the first of them by id
}

// ByReason groups the devices of a status, most first.
func (r *Rollout) ByReason(s Status) []Reasons {
	at := map[string]int{}
	var out []Reasons
	first := map[string]string{}
	for id, m := range r.Members {
		if m.Status != s {
			continue
		}
		i, ok := at[m.Reason]
		if !ok {
			i = len(out)
			at[m.Reason], out = i, append(out, Reasons{Reason: m.Reason})
		}
		out[i].Devices++
		if f, ok := first[m.Reason]; !ok || id < f {
			first[m.Reason], out[i].Example = id, m.Detail
		}
	}
	slices.SortFunc(out, func(a, b Reasons) int {
		return cmp.Or(cmp.Compare(b.Devices, a.Devices), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}

// Bytes adds up where the payloads came from.
func (r *Rollout) Bytes() protocol.Bytes {
	var sum protocol.Bytes
	for _, m := range r.Members {
		sum.Total += m.Bytes.Total
		sum.Done += m.Bytes.Done
		sum.Reused += m.Bytes.Reused
		sum.Peers += m.Bytes.Peers
		sum.Origin += m.Bytes.Origin
		sum.Served += m.Bytes.Served
	}
	return sum
}
