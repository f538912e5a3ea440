package conductor

import (
	"slices"

	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/rollout"
)

// events says what a device's present state means to a rollout. A device that is gone has the zero view.
func events(r *rollout.Rollout, id string, v fleet.View) []rollout.Event {
	inGroup := v.Admission == fleet.Accepted && slices.Contains(v.Groups, r.Spec.Group)
	m, known := r.Members[id]
	var out []rollout.Event
	switch {
	case known && !inGroup:
		out = append(out, rollout.Left{Device: id})
	case inGroup && (!known || m.Reason == rollout.ExcludedLeft):
		out = append(out, rollout.Joined{Candidate: candidate(v)})
	}
	if v.State.Report.Device == id {
		out = append(out, r.Standing(&v.State.Report))
	}
	return out
}

func candidate(v fleet.View) rollout.Candidate {
	running := v.State.Report.Running
	return rollout.Candidate{
		ID: v.ID, Hardware: v.Hardware, Product: running.Product, Counter: running.Counter, Running: running.SHA256,
	}
}

func candidates(views []fleet.View) []rollout.Candidate {
	out := make([]rollout.Candidate, len(views))
	for i, v := range views {
		out[i] = candidate(v)
	}
	return out
}
