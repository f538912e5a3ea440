package release

import (
	"cmp"
	"slices"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Running says how many accepted devices of one hardware run a version of a product.
type Running struct {
	Product, Version, Hardware string
	Devices                    int
}

const (
	maxBases = 8  // for which one release has patches
	covered  = 95 // percent of the devices that are to be updated
)

// pair is a release and one that devices come from.
type pair struct{ target, base *Release }

// parts returns the payloads of the pair between which there are patches.
func (p pair) parts() (parts []partPair) {
	for _, target := range p.target.Manifest.Components {
		if base, ok := p.base.Manifest.Component(target.Name); ok && base.SHA256 != target.SHA256 {
			parts = append(parts, partPair{target, base})
		}
	}
	return parts
}

// partPair is one component of a pair.
type partPair struct{ target, base firmware.Component }

// wanted returns the pairs for which there should be patches, by importance: to the newest release for each hardware of
// each product, from what devices run.
func wanted(all []Release, running []Running) (pairs []pair) {
	for _, target := range targets(all) {
		for _, base := range bases(target, all, running) {
			if p := (pair{target, base}); len(p.parts()) > 0 {
				pairs = append(pairs, p)
			}
		}
	}
	return pairs
}

// targets returns the releases that rollouts begin with from now on: published, and the newest of their product for some
// hardware. Newest first.
func targets(all []Release) (targets []*Release) {
	newest := map[[2]string]*Release{}
	for i := range all {
		r := &all[i]
		if r.State != Published || r.Manifest == nil {
			continue
		}
		for _, h := range r.Manifest.Hardware {
			if old := newest[[2]string{r.Product, h}]; old == nil || old.Counter < r.Counter {
				newest[[2]string{r.Product, h}] = r
			}
		}
	}
	for _, r := range newest {
		if !slices.Contains(targets, r) {
			targets = append(targets, r)
		}
	}
	slices.SortFunc(targets, func(a, b *Release) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.Name(), b.Name()))
	})
	return targets
}

// bases returns the fewest releases that cover most of the devices which the target can update, most devices first and of
// equals the newer one. A yanked release is a base like any other: its devices need the update most. When nothing is known
// of such devices it is the release before the target.
func bases(target *Release, all []Release, running []Running) (bases []*Release) {
	devices := map[string]int{} // by version
	total := 0
	for _, r := range running {
		if r.Product == target.Product && r.Version != target.Version && target.Manifest.Fits(r.Hardware) {
			devices[r.Version] += r.Devices
			total += r.Devices
		}
	}
	var before *Release
	for i := range all {
		r := &all[i]
		switch {
		case r.Product != target.Product || r.Manifest == nil || r.Counter >= target.Counter:
		case r.State != Published && r.State != Yanked:
		case devices[r.Version] > 0:
			bases = append(bases, r)
		case r.State == Published && slices.ContainsFunc(r.Manifest.Hardware, target.Manifest.Fits) && (before == nil || before.Counter < r.Counter):
			before = r
		}
	}
	if total == 0 && before != nil {
		return []*Release{before}
	}
	slices.SortFunc(bases, func(a, b *Release) int {
		return cmp.Or(cmp.Compare(devices[b.Version], devices[a.Version]), cmp.Compare(b.Counter, a.Counter))
	})
	sum := 0
	for i, r := range bases {
		if i == maxBases || 100*sum >= covered*total {
			return bases[:i]
		}
		sum += devices[r.Version]
	}
	return bases
}

// useless reports whether no device will ever want patches from or to a payload: every release with it is yanked and runs
// nowhere, or there is none.
func useless(payload firmware.Digest, all []Release, running []Running) bool {
	for i := range all {
		r := &all[i]
		if r.Manifest == nil || !slices.ContainsFunc(r.Manifest.Components, func(c firmware.Component) bool { return c.SHA256 == payload }) {
			continue
		}
		if r.State != Yanked || slices.ContainsFunc(running, func(n Running) bool {
			return n.Product == r.Product && n.Version == r.Version && n.Devices > 0
		}) {
			return false
		}
	}
	return true
}
