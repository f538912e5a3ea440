package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

// reason says why the server was asked for chunks. A code of a newer agent is shown as it is.
func reason(code string) string {
	switch code {
	case "alone":
		return "no neighbours were in sight"
	case "own-share":
		return "its part of what the site fetches"
	case "stepped-in":
		return "the device whose part it was stood still"
	case "did-not-come":
		return "a neighbour was said to have it, and it did not come"
	case "probe":
		return "to learn what the uplink gives"
	}
	return code
}

// updateSources shows where the bytes of an update came from over the network.
func updateSources(w io.Writer, u *client.Update) {
	told := value(u.Sources)
	if len(told) == 0 {
		if u.Bytes.Peers+u.Bytes.Origin > 0 {
			row(w, "source", "it does not say who gave what; its agent is older, or nothing came yet")
		}
		return
	}
	chunked := int64(0)
	for _, s := range told {
		who := "the server"
		switch why := value(s.Why); {
		case s.Device != nil:
			who = *s.Device
		case why == "others":
			who = "other neighbours"
		default:
			chunked += s.Bytes
		}
		line := fmt.Sprintf("%s from %s, %s", size(s.Bytes), who, chunks(s.Chunks))
		if who == "the server" {
			line += ": " + reason(value(s.Why))
		}
		row(w, "source", line)
	}
	if rest := u.Bytes.Origin - chunked; rest > 0 {
		row(w, "source", size(rest)+" from the server: indexes and metadata")
	}
	for _, a := range value(u.Advice) {
		row(w, "advice", a)
	}
}

func chunks(n int64) string {
	if n == 1 {
		return "1 chunk"
	}
	return fmt.Sprintf("%d chunks", n)
}

// siteSources shows why the server was asked, and what to do about it.
func siteSources(w io.Writer, x *client.SiteExchange) {
	if x == nil {
		return
	}
	for _, r := range x.Reasons {
		row(w, "server asked", fmt.Sprintf("%s, %s: %s", size(r.Bytes), chunks(r.Chunks), reason(value(r.Why))))
	}
	if x.Silent > 0 {
		row(w, "not told", fmt.Sprintf("by %d of %d devices, whose agents are older", x.Silent, x.Devices))
	}
	for _, a := range x.Advice {
		row(w, "advice", a)
	}
}

// siteExchange shows who gave how much to whom.
func siteExchange(w io.Writer, x *client.SiteExchange) {
	if x == nil || len(x.Givers) == 0 {
		return
	}
	row(w, "GIVER", "GAVE", "TO, OF "+strings.ToUpper(x.Product+" "+x.Version))
	for _, g := range x.Givers {
		row(w, giver(g), size(g.Bytes), takers(x.Takers, g.Gave))
	}
	row(w)
}

func giver(g client.SiteGiver) string {
	switch g.Kind {
	case client.GaveServer:
		return "(server)"
	case client.GaveOthers:
		return "(other devices)"
	case client.GaveUnnamed:
		return "(not told)"
	case client.GaveDevice:
		return value(g.Device)
	}
	return "(" + string(g.Kind) + ")"
}

// takers names those that had most from a giver.
func takers(all []client.SiteTaker, gave []int64) string {
	type part struct {
		name  string
		bytes int64
	}
	var parts []part
	for i, t := range all[:min(len(all), len(gave))] {
		if gave[i] > 0 {
			parts = append(parts, part{cmp.Or(value(t.Device), fmt.Sprintf("%d others", t.Devices)), gave[i]})
		}
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.bytes, a.bytes) })
	const shown = 4
	var words []string
	for _, p := range parts[:min(len(parts), shown)] {
		words = append(words, p.name+" "+size(p.bytes))
	}
	text, rest := strings.Join(words, ", "), int64(0)
	for _, p := range parts[min(len(parts), shown):] {
		rest += p.bytes
	}
	if more := len(parts) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more %s", more, size(rest))
	}
	return text
}
