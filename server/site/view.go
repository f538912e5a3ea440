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
	Accusing int // that say of neighbours what these did to them
	// Crowded says that too many devices seem to be here, so that none is introduced to another.
	Crowded bool
	// Bytes sums where the current or last updates of its devices came from.
	Bytes protocol.Bytes
	// Measured is how many devices have moved bytes for their last update; Alone is what they would have fetched had each
	// fetched alone, as in [Update].
	Measured int
	Alone    int64
	Updates  []Update // those that move first, then the newest
}

// Views returns all sites, by id. It is computed from what the fleet knows, so offline devices count too.
func (s *Sites) Views(ctx context.Context, of Releases) []View {
	all := map[string]*gathering{}
	s.each(ctx, func(m *member, name string, v *fleet.View) {
		if all[m.site] == nil {
			all[m.site] = &gathering{View: View{ID: m.site, Name: name}, by: updates{}}
		}
		s.add(all[m.site], m, v, of)
	})
	out := make([]View, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[id].end(of))
	}
	return out
}

// View returns one site with its devices, by id. The error matches ErrUnknown.
func (s *Sites) View(ctx context.Context, id string, of Releases) (View, []fleet.View, error) {
	site := &gathering{View: View{ID: id}, by: updates{}}
	var devices []fleet.View
	s.each(ctx, func(m *member, name string, v *fleet.View) {
		if m.site == id {
			site.Name = name
			s.add(site, m, v, of)
			devices = append(devices, *v)
		}
	})
	if len(devices) == 0 {
		return View{}, nil, fmt.Errorf("%w: %q; waxwing site list shows them", ErrUnknown, id)
	}
	return site.end(of), devices, nil
}

// Of returns the id of a device's site; empty: not known.
func (s *Sites) Of(v *fleet.View) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, _ := s.memberOf(v)
	return m.site
}

// Others returns how many other devices of a device's site are online and may be introduced.
func (s *Sites) Others(v *fleet.View) (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, _ := s.memberOf(v)
	for id, o := range s.sites[m.site] {
		if id != v.ID && o.active() {
			n++
		}
	}
	return n
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

// gathering is a view that is being made.
type gathering struct {
	View
	by updates
}

func (g *gathering) end(of Releases) View {
	g.Updates, g.Crowded = g.by.list(of), g.Devices > maxDevices
	return g.View
}

// add counts a device in. A lock is held.
func (s *Sites) add(g *gathering, m *member, v *fleet.View, of Releases) {
	g.Devices++
	if m.online {
		g.Online++
	}
	if m.active() {
		g.Sharing++
	}
	if len(v.State.Report.Isolated) > 0 {
		g.Isolated++
	}
	if len(v.State.Report.Offences) > 0 {
		g.Accusing++
	}
	u := v.State.Report.Update
	if u == nil {
		return
	}
	sum(&g.Bytes, u.Bytes)
	if Measured(v) {
		alone := s.price(v, of)
		g.Measured++
		g.Alone += alone
		g.by.add(u, alone)
	}
}

// Measured reports whether a device has moved bytes for its last update.
func Measured(v *fleet.View) bool {
	u := v.State.Report.Update
	return u != nil && u.Bytes.Origin+u.Bytes.Peers+u.Bytes.Reused > 0
}
