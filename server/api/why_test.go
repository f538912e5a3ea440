package api

import (
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/rollout"
)

func TestWhyDevice(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	view := func(change func(*fleet.View)) *fleet.View {
		v := &fleet.View{
			Device:   fleet.Device{ID: "d", Hardware: "board", Admission: fleet.Accepted},
			Presence: fleet.Presence{Online: true, LastSeen: now},
			State: fleet.State{ReceivedAt: now, Report: protocol.Report{
				Device: "d", Running: protocol.Running{Product: "gw", Version: "1.0"},
			}},
		}
		change(v)
		return v
	}
	update := func(phase protocol.Phase, reason protocol.Reason, detail string) *fleet.View {
		return view(func(v *fleet.View) {
			v.State.Report.Update = &protocol.Update{
				Product: "gw", Version: "1.1", Phase: phase, Reason: reason, Detail: detail, Bytes: protocol.Bytes{Total: 200, Done: 50},
			}
		})
	}
	in := func(state rollout.State, m rollout.Member) *placement {
		return &placement{id: "rol", version: "gw 1.1", state: state, stage: 0, stages: 3, member: m, hardware: []string{"other"}}
	}
	for name, c := range map[string]struct {
		v    *fleet.View
		in   *placement
		want string
	}{
		"pending":     {view(func(v *fleet.View) { v.Admission = fleet.Pending }), nil, "It has enrolled and waits for a person to accept it."},
		"rejected":    {view(func(v *fleet.View) { v.Admission = fleet.Rejected }), nil, "It is shut out of the fleet; accept it to let it in again."},
		"silent":      {view(func(v *fleet.View) { v.State = fleet.State{} }), nil, "It has enrolled but said nothing yet; start the agent with `waxwing-agent run`."},
		"idle":        {view(func(*fleet.View) {}), nil, "It runs gw 1.0, and no rollout asks it to change."},
		"as it came":  {view(func(v *fleet.View) { v.State.Report.Running = protocol.Running{} }), nil, "It runs what it came with; no rollout has asked it to change."},
		"downloading": {update(protocol.Downloading, "", ""), in(rollout.Running, rollout.Member{}), "It is downloading gw 1.1: 25 % is in place."},
		"checking":    {update(protocol.Checking, "", ""), nil, "It is checking the signatures of gw 1.1."},
		"installing":  {update(protocol.Installing, "", ""), nil, "It is reading gw 1.1 back before it starts it."},
		"window":      {update(protocol.Waiting, "", ""), nil, "It holds gw 1.1 and waits for its maintenance window to restart."},
		"rebooting":   {update(protocol.Rebooting, "", ""), nil, "It is restarting into gw 1.1."},
		"proving":     {update(protocol.Proving, "", ""), nil, "It runs gw 1.1 and its health probes decide whether it stays."},
		"reverting":   {update(protocol.Reverting, protocol.ReasonProbe, "web is down"), nil, "It is going back to the release before gw 1.1 (probe: web is down)."},
		"reverted":    {update(protocol.Reverted, protocol.ReasonProbe, ""), nil, "It went back to 1.0 after gw 1.1 did not prove itself (probe)."},
		"failed":      {update(protocol.Failed, protocol.ReasonTooLarge, "slot b has 5 MB"), nil, "It could not install gw 1.1 (too-large: slot b has 5 MB)."},
		"not its turn": {
			view(func(*fleet.View) {}), in(rollout.Running, rollout.Member{Stage: rollout.NotOpen, Status: rollout.Pending}),
			"It waits for its stage: rollout rol of gw 1.1 is at stage 1 of 3.",
		},
		"its turn": {
			view(func(*fleet.View) {}), in(rollout.Running, rollout.Member{Status: rollout.Pending}),
			"Its turn has come in rollout rol of gw 1.1, but it has not begun yet.",
		},
		"paused": {
			view(func(*fleet.View) {}), in(rollout.Paused, rollout.Member{Status: rollout.Pending}),
			"It waits: rollout rol of gw 1.1 is paused.",
		},
		"wrong hardware": {
			view(func(*fleet.View) {}), in(rollout.Running, rollout.Member{Status: rollout.Excluded, Reason: rollout.ExcludedHardware}),
			"Rollout rol of gw 1.1 leaves it out: it is board, the release is for [other].",
		},
		"done": {
			view(func(*fleet.View) {}), in(rollout.Running, rollout.Member{Status: rollout.Succeeded}),
			"It runs gw 1.1, which rollout rol brings.",
		},
		"failed in it": {
			update(protocol.Failed, protocol.ReasonDownload, ""), in(rollout.Running, rollout.Member{Status: rollout.Failed, Reason: "download"}),
			"It failed to take gw 1.1 (download); it tries again with the next rollout.",
		},
		"offline": {
			view(func(v *fleet.View) { v.Presence = fleet.Presence{LastSeen: now.Add(-90 * time.Minute)} }),
			in(rollout.Running, rollout.Member{Status: rollout.Pending}),
			"Its turn has come in rollout rol of gw 1.1, but it has not begun yet. It is offline; last heard of 1h30m0s ago.",
		},
	} {
		if got := why(c.v, c.in, now); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestWhyRollout(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	make := func(change func(*rollout.Rollout)) *rollout.Rollout {
		spec, err := rollout.Spec{Product: "gw", Version: "1.1", Group: "all", Stages: []rollout.Stage{
			{Count: 2, Gate: rollout.Gate{SuccessPercent: 90, SoakSeconds: 60}}, {Percent: 100},
		}}.Complete()
		if err != nil {
			t.Fatal(err)
		}
		r := &rollout.Rollout{
			ID: "rol", Spec: spec, State: rollout.Running, Opened: []time.Time{now}, Members: map[string]*rollout.Member{
				"a": {Status: rollout.Succeeded}, "b": {Status: rollout.Downloading}, "c": {Stage: rollout.NotOpen, Status: rollout.Pending},
				"d": {Stage: rollout.NotOpen, Status: rollout.Excluded},
			},
		}
		change(r)
		return r
	}
	met := func(r *rollout.Rollout) { r.MetAt, r.Members["b"].Status = now.Add(-20*time.Second), rollout.Succeeded }
	decided := []rollout.Decision{{By: "anna", Text: "paused: lunch"}}
	for name, c := range map[string]struct {
		r    *rollout.Rollout
		want string
	}{
		"dry run": {make(func(r *rollout.Rollout) { r.ID = "" }), "Nothing was started: 3 devices would take part and 1 would be left out."},
		"success": {make(func(*rollout.Rollout) {}), "Stage 1 of 2 (2 devices): 1 of 2 devices run it; 90 % must succeed."},
		"failing": {
			make(func(r *rollout.Rollout) { r.Members["b"].Status = rollout.Failed }),
			"Stage 1 of 2 (2 devices): 1 of 2 devices run it, 1 failed; 90 % must succeed.",
		},
		"soak": {make(met), "Stage 1 of 2 (2 devices) has its successes and is watched for another 40s."},
		"approval": {
			make(func(r *rollout.Rollout) {
				met(r)
				r.Spec.Stages[0].Gate = rollout.Gate{SuccessPercent: 90, Approval: true}
			}),
			"Stage 1 of 2 (2 devices) has its successes and waits for a person to promote it.",
		},
		"paused": {
			make(func(r *rollout.Rollout) { r.State, r.Decisions = rollout.Paused, decided }),
			"Paused by anna: nobody begins; 1 devices on their way go on.",
		},
		"aborted":   {make(func(r *rollout.Rollout) { r.State, r.Decisions = rollout.Aborted, decided }), "Stopped by anna: lunch."},
		"completed": {make(func(r *rollout.Rollout) { r.State = rollout.Completed }), "Done: 1 of 3 devices run it."},
	} {
		if got := whyRollout(c.r, now); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
		v := rolloutView(c.r, 7, now)
		sum := v.Counts.Pending + v.Counts.Waiting + v.Counts.Downloading + v.Counts.Installing + v.Counts.Rebooting +
			v.Counts.Proving + v.Counts.Succeeded + v.Counts.Failed + v.Counts.Excluded
		if sum != v.Counts.Total || v.AsOf != 7 || v.Stages[0].Want != 2 || v.Stages[1].Want != 3 {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
