package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/site"
)

func sourcesView(all []protocol.Source) *Sources {
	if len(all) == 0 {
		return nil
	}
	out := make(Sources, len(all))
	for i, s := range all {
		out[i] = sourceView(s)
	}
	return &out
}

func sourceView(s protocol.Source) Source {
	return Source{Device: optional(s.Device), Why: optional(s.Why), Chunks: s.Chunks, Bytes: s.Bytes}
}

// exchanged returns the update that tells most about neighbours: one that is under way, else the newest of which they passed
// something on, else the newest. Updates are in the order of [site.View].
func exchanged(all []site.Update) (product, version string) {
	tells := func(u site.Update) bool { return u.Moving > 0 || u.Bytes.Peers > 0 }
	u := all[max(0, slices.IndexFunc(all, tells))]
	return u.Product, u.Version
}

// exchangeView maps who gave to whom for one update of a site; nil when nothing was measured.
func exchangeView(v *site.View, devices []fleet.View) *SiteExchange {
	if len(v.Updates) == 0 {
		return nil
	}
	product, version := exchanged(v.Updates)
	x := site.ExchangeOf(devices, product, version)
	out := &SiteExchange{
		Product: x.Product, Version: x.Version, Devices: x.Devices, Silent: x.Silent, Chunks: x.Chunks,
		Takers: make([]SiteTaker, 0, len(x.Takers)), Givers: make([]SiteGiver, 0, len(x.Givers)),
		Reasons: make([]Source, 0, len(x.Reasons)), Advice: siteAdvice(&x, devices, v.Sharing),
	}
	for _, t := range x.Takers {
		out.Takers = append(out.Takers, SiteTaker{Device: optional(t.Device), Devices: t.Devices, Bytes: t.Bytes})
	}
	for _, g := range x.Givers {
		out.Givers = append(out.Givers, SiteGiver{Kind: SiteGiverKind(g.Kind), Device: optional(g.Device), Gave: g.Gave, Bytes: g.Bytes})
	}
	for _, r := range x.Reasons {
		out.Reasons = append(out.Reasons, sourceView(r))
	}
	return out
}

// deviceAdvice says what in the sources of a device's update is a symptom, and what to do; others is how many other devices
// of its site are online and may be introduced. It is pure.
func deviceAdvice(v *fleet.View, others int) (out []string) {
	u := v.State.Report.Update
	if u == nil {
		return nil
	}
	var all float64
	for _, s := range u.Sources {
		all += float64(s.Chunks)
	}
	if late := late(u.Sources, all); late > 0 {
		out = append(out, fmt.Sprintf("%d %% of the chunks that it fetched had to come from the server because a neighbour was slow or went away: "+
			"look at the links, the load and the power of its neighbours.", late))
	}
	if sawNobody(v) && others > 0 {
		out = append(out, fmt.Sprintf("It sees no neighbours, though %s online: multicast or a firewall may keep them apart; "+
			"run waxwing-agent doctor on it.", count(others, "other device of its site is", "other devices of its site are")))
	}
	return out
}

// siteAdvice is the same for all devices of a site.
func siteAdvice(x *site.Exchange, devices []fleet.View, sharing int) []string {
	out := []string{}
	if late := late(x.Reasons, float64(x.Chunks)); late > 0 {
		out = append(out, fmt.Sprintf("%d %% of the chunks that devices fetched had to come from the server because a neighbour was slow or went away: "+
			"look at the links, the load and the power of the devices.", late))
	}
	var alone []string
	for i := range devices {
		if u := devices[i].State.Report.Update; u != nil && u.Product == x.Product && u.Version == x.Version && sawNobody(&devices[i]) {
			alone = append(alone, devices[i].ID)
		}
	}
	if len(alone) > 0 && sharing > 1 {
		const shown = 3
		names := strings.Join(alone[:min(len(alone), shown)], ", ")
		if more := len(alone) - shown; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		see, there := "sees", "it"
		if len(alone) > 1 {
			see, there = "see", "them"
		}
		out = append(out, fmt.Sprintf("%s %s no neighbours, though others of the site are online: multicast or a firewall may keep them apart; "+
			"run waxwing-agent doctor on %s.", names, see, there))
	}
	return out
}

// muchLate is from how many percent of the chunks on lateness is a symptom. Now and then a neighbour always is late.
const muchLate = 10

// late returns how many percent of some chunks the server gave because neighbours did not; 0 when that is no symptom. Chunks
// are compared, as a patch is much smaller than the chunks that it yields.
func late(all []protocol.Source, of float64) int {
	var n float64
	for _, s := range all {
		if s.Device == "" && (s.Why == protocol.WhySteppedIn || s.Why == protocol.WhyDidNotCome) {
			n += float64(s.Chunks)
		}
	}
	if n == 0 || 100*n < muchLate*of {
		return 0
	}
	return int(100 * n / max(n, of))
}

// sawNobody reports whether a device that takes part in its site fetched alone, and sees nobody now either. Who began before
// the others was alone for a good reason.
func sawNobody(v *fleet.View) bool {
	r := &v.State.Report
	if !v.Presence.Online || r.Mesh == nil || !r.Mesh.Share || r.Neighbors > 0 {
		return false
	}
	for _, s := range r.Update.Sources {
		if s.Device == "" && s.Why == protocol.WhyAlone && s.Chunks > 0 {
			return true
		}
	}
	return false
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
