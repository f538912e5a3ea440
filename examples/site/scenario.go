package site

import (
	"fmt"
	"slices"
	"strings"
	"time"

	network "github.com/waxwing-ota/waxwing/mesh/meshtest/site"
)

// perDevice is what each device may cost the uplink for itself: freshness, its policy, its reports.
const perDevice = 32 << 10

// Scenario is one way in which a site may be updated.
type Scenario struct {
	Name string
	What string // for people

	off         bool    // no mesh
	spread      bool    // devices are switched on one by one, while the rollout waits for them
	killed      float64 // part of the devices that loses its power half-way, for good
	hostile     float64 // part of the devices that are hostile
	noMulticast bool
	subnets     int
	isolated    bool
	depot       bool
	bittorrent  bool // another program altogether

	copies float64 // bar: of one device's bytes over the uplink, besides perDevice; 0: none
	late   float64 // bar: of the ideal time until all is in place, besides lateMost; 0: none
}

// lateMost is, besides the time in which devices are switched on, what a site may take longer than its uplink needs, in seconds, whatever the size.
const lateMost = 3

// Scenarios are all there are.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "together", What: "all devices idle, one rollout to all at once", copies: 1.03, late: 1.2},
		{Name: "spread", What: "devices switched on one by one", spread: true, copies: 1.03, late: 1.2},
		{Name: "killed", What: "a fifth loses its power half-way, for good", killed: 0.2, copies: 1.10, late: 1.2},
		{Name: "malicious", What: "a tenth is hostile: wrong bytes, claims without deeds, silence, drips", hostile: 0.1, copies: 1.15, late: 2.4},
		{Name: "no-multicast", What: "the switch carries no multicast", noMulticast: true, copies: 1.03, late: 1.2},
		{Name: "two-subnets", What: "two LANs behind one uplink", subnets: 2, copies: 1.03, late: 1.2},
		{Name: "depot", What: "an always-on depot has the release before the devices are switched on; what they cost then", depot: true, copies: 0.03, late: 1.2},
		{Name: "isolated", What: "devices reach the router and nobody else: no bar but that all finish", isolated: true},
		{Name: "off", What: "the mesh off: what it would cost without", off: true},
		{Name: "bittorrent", What: "aria2 with a web seed (nginx) and local peer discovery", bittorrent: true},
	}
}

// Choose returns scenarios by their names, separated by commas; "all" are all.
func Choose(names string) ([]Scenario, error) {
	all := Scenarios()
	if names == "all" {
		return all, nil
	}
	var out []Scenario
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == strings.TrimSpace(name) })
		if i < 0 {
			known := make([]string, len(all))
			for i, s := range all {
				known[i] = s.Name
			}
			return nil, fmt.Errorf("there is no scenario %q; there are %s and all", name, strings.Join(known, ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}

// network says how the site is built.
func (s Scenario) network(rate string, nat bool) network.Options {
	return network.Options{Rate: rate, NAT: nat, NoMulticast: s.noMulticast, Subnets: s.subnets, Isolated: s.isolated}
}

// pause is how long it takes from the first device that is switched on to the last one.
func (s Scenario) pause(o Options) time.Duration {
	if s.spread {
		return o.Spread
	}
	return 0
}

// some returns which of n devices a part of them is, at least one, evenly spread.
func some(part float64, n int) map[int]bool {
	if part == 0 {
		return nil
	}
	count := max(int(part*float64(n)+0.5), 1)
	out := map[int]bool{}
	for i := range count {
		out[i*n/count] = true
	}
	return out
}
