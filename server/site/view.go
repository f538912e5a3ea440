package site

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// ErrUnknown says that there is no such site.
var ErrUnknown = errors.New("there is no such site")

// View is a site as people see it.
type View struct {
	ID       string
	Name     string // a label, or the public address
	Devices  int
	Online   int
	Sharing  int // online, and may be introduced to each other
	Isolated int // that could not reach another device of the site lately
	// Bytes sums where the current or last updates of its devices came from.
	Bytes protocol.Bytes
}

// Views returns all sites, by id. It is computed from what the fleet knows, so offline devices count too.
func (s *Sites) Views(ctx context.Context) []View {
	all := map[string]*View{}
	s.each(ctx, func(m *member, name string, v *fleet.View) {
		if all[m.site] == nil {
			all[m.site] = &View{ID: m.site, Name: name}
		}
		all[m.site].add(m, v)
	})
	out := make([]View, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, *all[id])
	}
	return out
}

// View returns one site with its devices, by id. The error matches ErrUnknown.
func (s *Sites) View(ctx context.Context, id string) (View, []fleet.View, error) {
	site := View{ID: id}
	var devices []fleet.View
	s.each(ctx, func(m *member, name string, v *fleet.View) {
		if m.site == id {
			site.Name = name
			site.add(m, v)
			devices = append(devices, *v)
		}
	})
	if len(devices) == 0 {
		return View{}, nil, fmt.Errorf("%w: %q; waxwing site list shows them", ErrUnknown, id)
	}
	return site, devices, nil
}

// Of returns the id of a device's site; empty: not known.
func (s *Sites) Of(v *fleet.View) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, _ := s.memberOf(v)
	return m.site
}

// each calls f for every device that is at a site.
func (s *Sites) each(ctx context.Context, f func(*member, string, *fleet.View)) {
	views, _, _ := s.o.Fleet.Views(ctx, fleet.Query{})
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range views {
		if m, name := s.memberOf(&views[i]); m.site != "" {
			f(m, name, &views[i])
		}
	}
}

func (w *View) add(m *member, v *fleet.View) {
	w.Devices++
	if m.online {
		w.Online++
	}
	if m.active() {
		w.Sharing++
	}
	if len(v.State.Report.Isolated) > 0 {
		w.Isolated++
	}
	if u := v.State.Report.Update; u != nil {
		b := &w.Bytes
		b.Total += u.Bytes.Total
		b.Done += u.Bytes.Done
		b.Reused += u.Bytes.Reused
		b.Peers += u.Bytes.Peers
		b.Origin += u.Bytes.Origin
		b.Served += u.Bytes.Served
	}
}
