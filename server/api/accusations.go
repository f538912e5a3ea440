package api

import (
	"cmp"
	"slices"

	"github.com/waxwing-ota/waxwing/server/fleet"
)

const maxAccusations = 100

// accusations gathers by neighbour what the devices of a site say of each other: one that many accuse comes first, as a
// device that lies is alone with what it says. It is pure.
func accusations(devices []fleet.View) []Accusation {
	type key struct{ neighbor, kind string }
	by := map[key]*Accusation{}
	for i := range devices {
		for _, o := range devices[i].State.Report.Offences {
			k := key{o.Neighbor, string(o.Kind)}
			a := by[k]
			if a == nil {
				a = &Accusation{Neighbor: o.Neighbor, Kind: string(o.Kind)}
				by[k] = a
			}
			if !slices.Contains(a.By, devices[i].ID) {
				a.By = append(a.By, devices[i].ID)
			}
			if a.Count += o.Count; a.Last.Before(o.Last) {
				a.Last = o.Last
			}
		}
	}
	all := make([]Accusation, 0, len(by))
	for _, a := range by {
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b Accusation) int {
		return cmp.Or(cmp.Compare(len(b.By), len(a.By)), b.Last.Compare(a.Last), cmp.Compare(a.Neighbor, b.Neighbor), cmp.Compare(a.Kind, b.Kind))
	})
	return all[:min(len(all), maxAccusations)]
}
