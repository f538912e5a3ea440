package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// ListDevices implements the operation.
func (s *Server) ListDevices(ctx context.Context, q ListDevicesRequestObject) (ListDevicesResponseObject, error) {
	selector, err := fleet.ParseSelector(value(q.Params.Filter))
	if err != nil {
		return nil, err
	}
	if err := s.Fleet.CheckLabels(selector); err != nil {
		return nil, err
	}
	var after string
	if t := value(q.Params.PageToken); t != "" {
		if after, err = readToken(t); err != nil {
			return nil, err
		}
	}
	limit := pageSize(q.Params.PageSize)
	views, total, revision := s.Fleet.Views(ctx, fleet.Query{
		Selector: selector, Search: value(q.Params.Search), After: after, Limit: limit + 1,
	})
	list := DeviceList{Total: total, AsOf: revision, Items: make([]Device, 0, len(views))}
	if len(views) > limit {
		views = views[:limit]
		list.NextPageToken = optional(writeToken(views[limit-1].ID))
	}
	active, err := s.active(ctx)
	if err != nil {
		return nil, err
	}
	for i := range views {
		list.Items = append(list.Items, s.deviceView(&views[i], active.of(&views[i])))
	}
	return ListDevices200JSONResponse(list), nil
}

// GetDevice implements the operation.
func (s *Server) GetDevice(ctx context.Context, q GetDeviceRequestObject) (GetDeviceResponseObject, error) {
	v, err := s.Fleet.View(ctx, q.Id)
	if err != nil {
		return nil, err
	}
	d, err := s.device(ctx, v)
	return GetDevice200JSONResponse(d), err
}

// LabelDevice implements the operation.
func (s *Server) LabelDevice(ctx context.Context, q LabelDeviceRequestObject) (LabelDeviceResponseObject, error) {
	v, err := s.Fleet.Label(ctx, q.Id, q.Body.Labels)
	if err != nil {
		return nil, err
	}
	d, err := s.device(ctx, v)
	return LabelDevice200JSONResponse(d), err
}

// AcceptDevice implements the operation.
func (s *Server) AcceptDevice(ctx context.Context, q AcceptDeviceRequestObject) (AcceptDeviceResponseObject, error) {
	v, err := s.Fleet.Accept(ctx, q.Id)
	if err != nil {
		return nil, err
	}
	d, err := s.device(ctx, v)
	return AcceptDevice200JSONResponse(d), err
}

// RejectDevice implements the operation.
func (s *Server) RejectDevice(ctx context.Context, q RejectDeviceRequestObject) (RejectDeviceResponseObject, error) {
	v, err := s.Fleet.Reject(ctx, q.Id)
	if err != nil {
		return nil, err
	}
	d, err := s.device(ctx, v)
	return RejectDevice200JSONResponse(d), err
}

func (s *Server) device(ctx context.Context, v fleet.View) (Device, error) {
	active, err := s.active(ctx)
	d := s.deviceView(&v, active.of(&v))
	if d.Update != nil {
		d.Update.Advice = namesView(deviceAdvice(&v, s.Sites.Others(&v)))
	}
	return d, err
}

func (s *Server) deviceView(v *fleet.View, in *placement) Device {
	d := deviceView(v, in, s.Now())
	if d.Site = optional(s.Sites.Of(v)); d.Site != nil {
		d.Apart = optional(apart(v, false))
	}
	return d
}

// deviceView maps a device and the rollout that it is a part of, if any. Its site is not known here.
func deviceView(v *fleet.View, in *placement, now time.Time) Device {
	report := &v.State.Report
	d := Device{
		Id: v.ID, Hardware: v.Hardware, Labels: maps.Clone(v.Labels), Groups: slices.Clone(v.Groups),
		Admission: DeviceAdmission(v.Admission), Online: v.Presence.Online, EnrolledAt: v.EnrolledAt,
		Address: optional(v.State.Address), Agent: optional(report.Agent),
		LastSeen: optional(lastSeen(v).UTC()),
		Running: Running{
			Slot: report.Running.Slot, Product: optional(report.Running.Product), Version: optional(report.Running.Version),
			Counter: optional(int64(report.Running.Counter)),
		},
		Phase: Phase(protocol.Idle), Why: why(v, in, now), Link: linkView(report.Mesh), IsolatedFrom: namesView(report.Isolated),
		Offences: offencesView(report.Offences), Limits: limitsView(report.Limits), Depot: depotView(report.Mesh),
	}
	if d.Labels == nil {
		d.Labels = map[string]string{}
	}
	if d.Groups == nil {
		d.Groups = []string{}
	}
	if !report.Running.SHA256.IsZero() {
		d.Running.Sha256 = optional(report.Running.SHA256.String())
	}
	if !v.State.ReceivedAt.IsZero() {
		n := report.Neighbors
		d.Neighbors = &n
	}
	if u := report.Update; u != nil {
		if u.Phase != "" {
			d.Phase = Phase(u.Phase)
		}
		d.Update = &Update{
			Rollout: optional(u.Rollout), Product: u.Product, Version: u.Version, Phase: d.Phase,
			Reason: optional(string(u.Reason)), Detail: optional(u.Detail), Bytes: bytesView(u.Bytes), Millis: millisView(u.Millis),
			Sources: sourcesView(u.Sources),
		}
	}
	return d
}

// lastSeen is when the device was last heard of: presence knows since the server started, the stored report before that.
func lastSeen(v *fleet.View) time.Time {
	if v.Presence.LastSeen.IsZero() {
		return v.State.ReceivedAt
	}
	return v.Presence.LastSeen
}

func bytesView(b protocol.Bytes) Bytes {
	return Bytes{Reused: b.Reused, Peers: b.Peers, Origin: b.Origin, Served: &b.Served, Total: &b.Total, Done: &b.Done}
}

func depotView(m *protocol.Mesh) *Depot {
	if m == nil || m.Depot == nil {
		return nil
	}
	d := &Depot{Releases: []KeptRelease{}, Bytes: m.Depot.Bytes, Space: m.Depot.Space, Trouble: optional(m.Depot.Trouble)}
	for _, k := range m.Depot.Releases {
		d.Releases = append(d.Releases, KeptRelease{Product: k.Product, Version: k.Version})
	}
	return d
}

func offencesView(all []protocol.Offence) *[]Offence {
	if len(all) == 0 {
		return nil
	}
	out := make([]Offence, len(all))
	for i, o := range all {
		out[i] = Offence{Neighbor: o.Neighbor, Kind: string(o.Kind), Count: o.Count, Last: o.Last}
	}
	return &out
}

func limitsView(all []protocol.Limit) *[]Limit {
	if len(all) == 0 {
		return nil
	}
	out := make([]Limit, len(all))
	for i, l := range all {
		out[i] = Limit{Of: l.Of, Why: l.Why, Until: l.Until, Detail: l.Detail}
	}
	return &out
}

func millisView(m map[protocol.Phase]int64) *map[string]int64 {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]int64, len(m))
	for phase, n := range m {
		out[string(phase)] = n
	}
	return &out
}

// labelChanges says for the audit trail what a person changed.
func labelChanges(labels map[string]*string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if v := labels[key]; v != nil {
			parts = append(parts, key+"="+*v)
		} else {
			parts = append(parts, "-"+key)
		}
	}
	return strings.Join(parts, " ")
}

// ListGroups implements the operation.
func (s *Server) ListGroups(context.Context, ListGroupsRequestObject) (ListGroupsResponseObject, error) {
	list := ListGroups200JSONResponse{Items: []Group{}}
	for _, g := range s.Fleet.Groups() {
		list.Items = append(list.Items, groupView(g))
	}
	return list, nil
}

// PutGroup implements the operation.
func (s *Server) PutGroup(ctx context.Context, q PutGroupRequestObject) (PutGroupResponseObject, error) {
	g, err := s.Fleet.PutGroup(ctx, fleet.Group{
		Name: q.Id, Selector: q.Body.Selector, Priority: value(q.Body.Priority),
	}, value(q.Params.Force))
	if err != nil {
		return nil, err
	}
	return PutGroup200JSONResponse(groupView(g)), nil
}

// DeleteGroup implements the operation.
func (s *Server) DeleteGroup(ctx context.Context, q DeleteGroupRequestObject) (DeleteGroupResponseObject, error) {
	active, err := s.active(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range active {
		if r.Spec.Group == q.Id {
			return nil, fmt.Errorf("group %s: %w: rollout %s of %s %s is %s there; abort it or let it end first",
				q.Id, errInUse, r.ID, r.Spec.Product, r.Spec.Version, r.State)
		}
	}
	if err := s.Fleet.DeleteGroup(ctx, q.Id); err != nil {
		return nil, err
	}
	return DeleteGroup204Response{}, nil
}

func groupView(g fleet.GroupView) Group {
	return Group{Name: g.Name, Selector: g.Selector, Priority: g.Priority, Devices: g.Devices}
}
