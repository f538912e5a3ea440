package api

import (
	"context"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/site"
)

// ListSites implements the operation.
func (s *Server) ListSites(ctx context.Context, q ListSitesRequestObject) (ListSitesResponseObject, error) {
	all := s.Sites.Views(ctx)
	part, next, err := page(all, q.Params.PageToken, q.Params.PageSize, func(v site.View) string { return v.ID })
	if err != nil {
		return nil, err
	}
	list := SiteList{Total: len(all), NextPageToken: next, Items: make([]Site, 0, len(part))}
	for _, v := range part {
		list.Items = append(list.Items, siteView(v))
	}
	return ListSites200JSONResponse(list), nil
}

// GetSite implements the operation.
func (s *Server) GetSite(ctx context.Context, q GetSiteRequestObject) (GetSiteResponseObject, error) {
	v, devices, err := s.Sites.View(ctx, q.Id)
	if err != nil {
		return nil, err
	}
	detail := SiteDetail{Site: siteView(v), Devices: make([]SiteDevice, 0, len(devices))}
	for i := range devices {
		detail.Devices = append(detail.Devices, siteDeviceView(&devices[i]))
	}
	return GetSite200JSONResponse(detail), nil
}

func siteView(v site.View) Site {
	return Site{
		Id: v.ID, Name: v.Name, Devices: v.Devices, Online: v.Online, Sharing: v.Sharing, Isolated: v.Isolated, Bytes: bytesView(v.Bytes),
	}
}

// siteDeviceView maps a device among those of its site. Where it listens is for devices alone.
func siteDeviceView(v *fleet.View) SiteDevice {
	report := &v.State.Report
	d := SiteDevice{
		Id: v.ID, Online: v.Presence.Online, Sharing: report.Mesh != nil && report.Mesh.Share, Link: linkView(report.Mesh),
		IsolatedFrom: namesView(report.Isolated), Version: optional(report.Running.Version), Phase: Phase(protocol.Idle),
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
		d.Bytes = &b
	}
	return d
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
