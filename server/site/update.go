package site

import (
	"cmp"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// Releases tells of releases what is needed to judge what neighbours saved.
type Releases interface {
	// Patches returns the bytes of the patches that bring a device from one version of a product to another, and false when
	// there are none. Without a base it returns the fewest bytes there are from any.
	Patches(product, version, base string) (bytes int64, ok bool)
	// Made returns when a release was made; zero: not known.
	Made(product, version string) time.Time
}

// Update is one release that devices of a site have, or take, as their last update.
type Update struct {
	Product, Version string
	Devices          int // that fetched some of it
	Moving           int // that are not done with it
	Committed        int
	Bytes            protocol.Bytes
	// Alone is what the devices would have fetched had each fetched alone, in bytes. It errs to the low side: see alone.
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

// alone returns what a device would have fetched so far without neighbours. These give plain chunks where the server gives
// patches, so what it took is no measure where there are patches from its base: it would have taken no more than they and some metadata.
// When its base is not known any longer, the smallest patches stand in, and at least what it took from the server counts.
func alone(b protocol.Bytes, patches int64, patched, sure bool) int64 {
	taken := b.Origin + b.Peers
	switch {
	case !patched:
		return taken
	case sure:
		return min(taken, patches)
	}
	return max(b.Origin, min(taken, patches))
}

// metadata is what each device fetches itself beside patches, at least: what proves a release genuine and fresh, in bytes.
const metadata = 8 << 10

// price is alone for the last update of a device. A lock is held.
func (s *Sites) price(v *fleet.View, of Releases) int64 {
	u := v.State.Report.Update
	from, sure := s.baseOf(v)
	if sure && from == "" { // it ran what it came with, to which there are no patches
		return alone(u.Bytes, 0, false, true)
	}
	patches, patched := of.Patches(u.Product, u.Version, from)
	return alone(u.Bytes, patches+metadata, patched, sure)
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
		made[key] = of.Made(u.Product, u.Version)
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
