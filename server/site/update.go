package site

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// Releases tells of releases what is needed to judge what neighbours saved; nil knows none.
type Releases interface {
	Release(product, version string) (Release, bool)
}

// Release is what a release costs a device alone, in bytes.
type Release struct {
	Made    time.Time
	Whole   int64            // all of its chunks as the server gives them, and its indexes
	Plain   int64            // the chunks as neighbours give them
	Patches map[string]int64 // version that a device runs → the patches from there
}

// Update is one release that devices of a site have, or take, as their last update.
type Update struct {
	Product, Version string
	Devices          int // that fetched some of it
	Moving           int // that are not done with it
	Committed        int
	Bytes            protocol.Bytes
	// Alone is what the devices would have fetched had each fetched alone, in bytes. It errs to the low side.
	Alone int64
}

// base is the version from which a device set out for another. It is known while that other one does not run yet, and kept
// for later in memory.
type base struct{ product, target, version string }

// note keeps the base of a device's update. The lock is held.
func (s *Sites) note(v *fleet.View) {
	r := &v.State.Report
	if u := r.Update; u != nil && u.Version != r.Running.Version {
		s.bases[v.ID] = base{u.Product, u.Version, r.Running.Version}
	}
}

// baseOf returns the base of a device's update, and false when it is not known. A lock is held.
func (s *Sites) baseOf(v *fleet.View) (version string, ok bool) {
	r := &v.State.Report
	if r.Update.Version != r.Running.Version {
		return r.Running.Version, true
	}
	if b := s.bases[v.ID]; b.product == r.Update.Product && b.target == r.Update.Version {
		return b.version, true
	}
	return "", false
}

// metadata is what each device fetches itself beside chunks and patches, at least: what proves a release genuine and fresh.
const metadata = 8 << 10

// alone returns what a device would have fetched so far without neighbours. These give plain chunks, the server gives them
// compressed or gives patches; so what they gave counts as much as it is compressed in the mean of the release, and all
// together no more than the patches from the base of the device, or the whole release, and some metadata. When the base is
// not known any longer, the smallest patches stand in, and at least what it took from the server counts; of a release that
// is not known, nothing else does.
func (r Release) alone(b protocol.Bytes, base string, sure bool) int64 {
	if r.Whole <= 0 || r.Plain <= 0 {
		return b.Origin
	}
	taken := b.Origin + int64(float64(b.Peers)*min(float64(r.Whole)/float64(r.Plain), 1))
	taken = min(taken, r.Whole+metadata)
	if patches, ok := r.Patches[base]; sure && ok {
		return min(taken, patches+metadata)
	}
	if !sure && len(r.Patches) > 0 {
		return max(b.Origin, min(taken, slices.Min(slices.Collect(maps.Values(r.Patches)))+metadata))
	}
	return taken
}

// price is alone for the last update of a device. A lock is held.
func (s *Sites) price(v *fleet.View, of Releases) int64 {
	u := v.State.Report.Update
	r := known(of, u.Product, u.Version)
	from, sure := s.baseOf(v)
	return r.alone(u.Bytes, from, sure)
}

// known returns a release; the zero one is not known.
func known(of Releases, product, version string) Release {
	if of == nil {
		return Release{}
	}
	r, _ := of.Release(product, version)
	return r
}

// updates gathers by release.
type updates map[[2]string]*Update

func (all updates) add(u *protocol.Update, alone int64) {
	key := [2]string{u.Product, u.Version}
	if all[key] == nil {
		all[key] = &Update{Product: u.Product, Version: u.Version}
	}
	one := all[key]
	one.Devices++
	switch {
	case u.Phase == protocol.Committed:
		one.Committed++
	case !u.Final():
		one.Moving++
	}
	sum(&one.Bytes, u.Bytes)
	one.Alone += alone
}

// list returns those that move first, then the newest.
func (all updates) list(of Releases) []Update {
	out := make([]Update, 0, len(all))
	made := map[[2]string]time.Time{}
	for key, u := range all {
		out = append(out, *u)
		made[key] = known(of, u.Product, u.Version).Made
	}
	slices.SortFunc(out, func(a, b Update) int {
		return cmp.Or(
			cmp.Compare(min(b.Moving, 1), min(a.Moving, 1)),
			made[[2]string{b.Product, b.Version}].Compare(made[[2]string{a.Product, a.Version}]),
			cmp.Compare(b.Devices, a.Devices), cmp.Compare(a.Product, b.Product), cmp.Compare(a.Version, b.Version))
	})
	return out
}

func sum(to *protocol.Bytes, b protocol.Bytes) {
	to.Total += b.Total
	to.Done += b.Done
	to.Reused += b.Reused
	to.Peers += b.Peers
	to.Origin += b.Origin
	to.Served += b.Served
}
