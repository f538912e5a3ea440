package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/server/rollout"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// ListRollouts implements the operation.
func (s *Server) ListRollouts(ctx context.Context, q ListRolloutsRequestObject) (ListRolloutsResponseObject, error) {
	ids, err := s.Rollouts.List(ctx)
	if err != nil {
		return nil, err
	}
	part, next, err := page(ids, q.Params.PageToken, q.Params.PageSize, func(id string) string { return id })
	if err != nil {
		return nil, err
	}
	list := ListRollouts200JSONResponse{Items: make([]Rollout, 0, len(part)), NextPageToken: next}
	for _, id := range part { // the members of a rollout are many; only those of this page are read
		r, revision, err := s.Rollouts.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, rolloutView(r, revision, s.Now()))
	}
	return list, nil
}

// CreateRollout implements the operation.
func (s *Server) CreateRollout(ctx context.Context, q CreateRolloutRequestObject) (CreateRolloutResponseObject, error) {
	r, revision, err := s.Rollouts.Create(ctx, spec(q.Body), callerOf(ctx).Name, value(q.Params.DryRun))
	if err != nil {
		return nil, err
	}
	return CreateRollout201JSONResponse(rolloutView(r, revision, s.Now())), nil
}

// GetRollout implements the operation.
func (s *Server) GetRollout(ctx context.Context, q GetRolloutRequestObject) (GetRolloutResponseObject, error) {
	r, revision, err := s.Rollouts.Get(ctx, q.Id)
	if err == nil {
		err = callerOf(ctx).RequireProduct(r.Spec.Product)
	}
	if err != nil {
		return nil, err
	}
	return GetRollout200JSONResponse(rolloutView(r, revision, s.Now())), nil
}

// ActOnRollout implements the operation.
func (s *Server) ActOnRollout(ctx context.Context, q ActOnRolloutRequestObject) (ActOnRolloutResponseObject, error) {
	if who := callerOf(ctx); who.Bound() {
		r, _, err := s.Rollouts.Get(ctx, q.Id)
		if err == nil {
			err = who.RequireProduct(r.Spec.Product)
		}
		if err != nil {
			return nil, err
		}
	}
	var reason string
	if q.Body != nil {
		reason = value(q.Body.Reason)
	}
	r, revision, err := s.Rollouts.Act(ctx, q.Id, string(q.Action), callerOf(ctx).Name, reason)
	if err != nil {
		return nil, err
	}
	return ActOnRollout200JSONResponse(rolloutView(r, revision, s.Now())), nil
}

// ListRolloutDevices implements the operation.
func (s *Server) ListRolloutDevices(ctx context.Context, q ListRolloutDevicesRequestObject) (ListRolloutDevicesResponseObject, error) {
	r, revision, err := s.Rollouts.Get(ctx, q.Id)
	if err != nil {
		return nil, err
	}
	inStage := func(string, *rollout.Member) bool { return true }
	if stage := q.Params.Stage; stage != nil {
		if *stage >= len(r.Spec.Stages) {
			return nil, fmt.Errorf("rollout %s has stages 0 to %d: %w", r.ID, len(r.Spec.Stages)-1, store.ErrNotFound)
		}
		inStage = r.In(*stage)
	}
	ids := slices.Sorted(maps.Keys(r.Members))
	ids = slices.DeleteFunc(ids, func(id string) bool {
		m := r.Members[id]
		return !inStage(id, m) ||
			q.Params.Status != nil && string(m.Status) != string(*q.Params.Status) ||
			q.Params.Reason != nil && m.Reason != *q.Params.Reason
	})
	total := len(ids)
	if t := value(q.Params.PageToken); t != "" {
		after, err := readToken(t)
		if err != nil {
			return nil, err
		}
		// A device may have left the list since; what comes after it by name has not.
		ids = slices.DeleteFunc(ids, func(id string) bool { return strings.Compare(id, after) <= 0 })
	}
	part, next, err := page(ids, nil, q.Params.PageSize, func(id string) string { return id })
	if err != nil {
		return nil, err
	}
	list := ListRolloutDevices200JSONResponse{Total: total, AsOf: revision, NextPageToken: next, Items: make([]RolloutDevice, 0, len(part))}
	for _, id := range part {
		m := r.Members[id]
		bytes := bytesView(m.Bytes)
		list.Items = append(list.Items, RolloutDevice{
			Id: id, Stage: m.Stage, Status: Status(m.Status), Reason: optional(m.Reason), Detail: optional(m.Detail),
			Since: optional(m.Since), Bytes: &bytes, Millis: millisView(m.Millis),
		})
	}
	return list, nil
}

// spec maps what a person asked for; what is left out stays zero and gets the defaults of rollout.Spec.
func spec(n *NewRollout) rollout.Spec {
	s := rollout.Spec{Product: n.Product, Version: n.Version, Group: value(n.Group)}
	for _, g := range value(n.Stages) {
		stage := rollout.Stage{Percent: value(g.Percent), Count: value(g.Count), Devices: value(g.Devices)}
		if g.Gate != nil {
			stage.Gate = rollout.Gate{
				SuccessPercent: value(g.Gate.SuccessPercent), SoakSeconds: value(g.Gate.SoakSeconds), Approval: value(g.Gate.Approval),
			}
		}
		s.Stages = append(s.Stages, stage)
	}
	if n.Abort != nil {
		s.Abort = rollout.Abort{Failures: value(n.Abort.Failures), FailurePercent: value(n.Abort.FailurePercent)}
	}
	if n.Health != nil {
		s.Health = policy.Health{DeadlineSeconds: value(n.Health.DeadlineSeconds), Probes: value(n.Health.Probes)}
	}
	if n.Window != nil {
		s.Window = &policy.Window{Start: n.Window.Start, End: n.Window.End}
	}
	return s
}

// rolloutView maps a rollout. It is pure.
func rolloutView(r *rollout.Rollout, revision int64, now time.Time) Rollout {
	v := Rollout{
		Id: r.ID, Product: r.Spec.Product, Version: r.Spec.Version, Group: r.Spec.Group, State: RolloutState(r.State),
		Stage: r.Stage, Counts: countsView(r.Counts()), Bytes: bytesView(r.Bytes()), AsOf: revision,
		Abort:     &Abort{Failures: &r.Spec.Abort.Failures, FailurePercent: &r.Spec.Abort.FailurePercent},
		CreatedAt: r.CreatedAt, CreatedBy: r.CreatedBy, EndedAt: optional(r.EndedAt),
		Failures: []Failure{}, Decisions: make([]Decision, 0, len(r.Decisions)), Why: whyRollout(r, now),
		Stages: stageViews(r),
	}
	if gate := r.Gate(now); gate != rollout.GateOpen {
		waits := RolloutWaitingFor(gate)
		v.WaitingFor = &waits
	}
	for _, f := range r.ByReason(rollout.Failed) {
		v.Failures = append(v.Failures, Failure{Reason: f.Reason, Devices: f.Devices, Example: optional(f.Example)})
	}
	if excluded := r.ByReason(rollout.Excluded); len(excluded) > 0 {
		all := make([]Exclusion, len(excluded))
		for i, e := range excluded {
			all[i] = Exclusion{Reason: e.Reason, Devices: e.Devices}
		}
		v.Exclusions = &all
	}
	for _, d := range r.Decisions {
		v.Decisions = append(v.Decisions, Decision{At: d.At, By: d.By, Text: d.Text})
	}
	return v
}

func stageViews(r *rollout.Rollout) []StageView {
	counts := r.Counts()
	able := counts.Total - counts.ByStatus[rollout.Excluded]
	want := 0
	views := make([]StageView, 0, len(r.Spec.Stages))
	for i, stage := range r.Spec.Stages {
		switch {
		case stage.Percent > 0:
			want = max(want, (able*stage.Percent+99)/100)
		case stage.Count > 0:
			want = max(want, min(stage.Count, able))
		default:
			want = min(max(want, len(stage.Devices)), able)
		}
		gate := stage.Gate
		v := StageView{
			Name: stage.Name(), Want: want, Open: i < len(r.Opened), Counts: countsView(r.StageCounts(i)),
			Gate: Gate{SuccessPercent: &gate.SuccessPercent, SoakSeconds: &gate.SoakSeconds, Approval: &gate.Approval},
		}
		if i < len(r.Opened) {
			v.OpenedAt = optional(r.Opened[i])
		}
		if i < len(r.Passed) {
			v.PassedAt = optional(r.Passed[i])
		}
		views = append(views, v)
	}
	return views
}

func countsView(c rollout.Counts) Counts {
	return Counts{
		Total: c.Total, Pending: c.ByStatus[rollout.Pending], Waiting: c.ByStatus[rollout.Waiting],
		Downloading: c.ByStatus[rollout.Downloading], Installing: c.ByStatus[rollout.Installing],
		Rebooting: c.ByStatus[rollout.Rebooting], Proving: c.ByStatus[rollout.Proving],
		Succeeded: c.ByStatus[rollout.Succeeded], Failed: c.ByStatus[rollout.Failed], Excluded: c.ByStatus[rollout.Excluded],
	}
}
