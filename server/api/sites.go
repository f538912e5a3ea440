package api

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/site"
)

// ListSites implements the operation.
func (s *Server) ListSites(ctx context.Context, q ListSitesRequestObject) (ListSitesResponseObject, error) {
	all, err := s.sites.get(func() ([]site.View, error) {
		prices, err := s.prices(ctx)
		if err != nil {
			return nil, err
		}
		return s.Sites.Views(ctx, prices), nil
	})
	if err != nil {
		return nil, err
	}
	part, next, err := page(all, q.Params.PageToken, q.Params.PageSize, func(v site.View) string { return v.ID })
	if err != nil {
		return nil, err
	}
	list := SiteList{Total: len(all), NextPageToken: next, Items: make([]Site, 0, len(part))}
	for i := range part {
		list.Items = append(list.Items, siteView(&part[i]))
	}
	return ListSites200JSONResponse(list), nil
}

// GetSite implements the operation.
func (s *Server) GetSite(ctx context.Context, q GetSiteRequestObject) (GetSiteResponseObject, error) {
	prices, err := s.prices(ctx)
	if err != nil {
		return nil, err
	}
	v, devices, err := s.Sites.View(ctx, q.Id, prices)
	if err != nil {
		return nil, err
	}
	detail := SiteDetail{Site: siteView(&v), Most: siteMost(devices), Accusations: accusations(devices), Exchange: exchangeView(&v, devices)}
	devices = slices.DeleteFunc(devices, func(d fleet.View) bool { return !shown(&d, q.Params) })
	slices.SortStableFunc(devices, siteOrder(value(q.Params.Order)))
	detail.Total = len(devices)
	size := q.Params.PageSize
	if size == nil && q.Params.PageToken == nil {
		size = &detail.Total
	}
	part, next, err := page(devices, q.Params.PageToken, size, func(d fleet.View) string { return d.ID })
	if err != nil {
		return nil, err
	}
	detail.NextPageToken, detail.Devices = next, make([]SiteDevice, 0, len(part))
	for i := range part {
		detail.Devices = append(detail.Devices, siteDeviceView(&part[i], v.Crowded))
	}
	return GetSite200JSONResponse(detail), nil
}

// shown reports whether a device is among those that were asked for.
func shown(v *fleet.View, q GetSiteParams) bool {
	if !strings.Contains(v.ID, value(q.Search)) {
		return false
	}
	takesPart := v.Presence.Online && v.State.Report.Mesh != nil && v.State.Report.Mesh.Share
	switch value(q.Show) {
	case SiteShowOnline:
		return v.Presence.Online
	case SiteShowOffline:
		return !v.Presence.Online
	case SiteShowSharing:
		return takesPart
	case SiteShowApart:
		return !takesPart
	case SiteShowIsolated:
		return len(v.State.Report.Isolated) > 0
	case SiteShowAccusing:
		return len(v.State.Report.Offences) > 0
	case SiteShowMoving:
		return site.Measured(v) && !v.State.Report.Update.Final()
	}
	return true
}

// siteOrder compares devices; those that are equal in it stay ordered by id.
func siteOrder(by SiteOrder) func(a, b fleet.View) int {
	amount := func(fleet.View) int64 { return 0 }
	switch by {
	case SiteOrderOrigin:
		amount = func(v fleet.View) int64 { return moved(&v).Origin }
	case SiteOrderPeers:
		amount = func(v fleet.View) int64 { return moved(&v).Peers }
	case SiteOrderServed:
		amount = func(v fleet.View) int64 { return moved(&v).Served }
	}
	return func(a, b fleet.View) int { return cmp.Compare(amount(b), amount(a)) }
}

// moved is the bytes of a device's last update.
func moved(v *fleet.View) protocol.Bytes {
	if u := v.State.Report.Update; u != nil {
		return u.Bytes
	}
	return protocol.Bytes{}
}

func siteMost(devices []fleet.View) (most SiteMost) {
	for i := range devices {
		b := moved(&devices[i])
		most.Moved = max(most.Moved, b.Origin+b.Peers)
		most.All = max(most.All, b.Origin+b.Peers+b.Reused)
	}
	return most
}

func siteView(v *site.View) Site {
	s := Site{
		Id: v.ID, Name: v.Name, Devices: v.Devices, Online: v.Online, Sharing: v.Sharing, Isolated: v.Isolated, Accusing: v.Accusing,
		Crowded: v.Crowded, Measured: v.Measured, Bytes: bytesView(v.Bytes), Alone: v.Alone, Saved: v.Alone - v.Bytes.Origin,
		Updates: make([]SiteUpdate, 0, len(v.Updates)),
	}
	for _, u := range v.Updates {
		s.Updates = append(s.Updates, SiteUpdate{
			Product: u.Product, Version: u.Version, Devices: u.Devices, Moving: u.Moving, Committed: u.Committed,
			Bytes: bytesView(u.Bytes), Alone: u.Alone, Saved: u.Alone - u.Bytes.Origin,
		})
	}
	return s
}

// siteDeviceView maps a device among those of its site. Where it listens is for devices alone.
func siteDeviceView(v *fleet.View, crowded bool) SiteDevice {
	report := &v.State.Report
	d := SiteDevice{
		Id: v.ID, Online: v.Presence.Online, Sharing: report.Mesh != nil && report.Mesh.Share, Link: linkView(report.Mesh),
		IsolatedFrom: namesView(report.Isolated), Version: optional(report.Running.Version), Phase: Phase(protocol.Idle),
		Apart: optional(apart(v, crowded)), Offences: offencesView(report.Offences),
	}
	if !v.State.ReceivedAt.IsZero() {
		n := report.Neighbors
		d.Neighbors = &n
	}
	if u := report.Update; u != nil {
		if u.Phase != "" {
			d.Phase = Phase(u.Phase)
		}
		b := bytesView(u.Bytes)
		d.Bytes, d.Target, d.Sources = &b, optional(u.Version), sourcesView(u.Sources)
	}
	return d
}

// apart says why a device takes no part in its site, and what to do; empty: it does. It is pure.
func apart(v *fleet.View, crowded bool) string {
	mesh := v.State.Report.Mesh
	switch {
	case v.State.ReceivedAt.IsZero():
		return "It has said nothing yet; start its agent."
	case mesh == nil:
		return "It talks to no neighbours: mesh.off is set in its agent.json, or its agent is too old; update the agent."
	case !mesh.Share:
		return "The server may not introduce it: mesh.unlisted is set in its agent.json, or it listens nowhere; waxwing-agent doctor on the device tells which."
	case crowded:
		return "Too many devices seem to be at this site, so none is introduced; give them the label site."
	case !v.Presence.Online:
		return "It is offline."
	}
	return ""
}

func linkView(m *protocol.Mesh) *Link {
	if m == nil {
		return nil
	}
	return optional(Link(m.Link))
}

func namesView(names []string) *[]string {
	if len(names) == 0 {
		return nil
	}
	return &names
}
