package swarm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// unit is chunks with one owner.
type unit struct {
	key     uint64 // what the owner is drawn from
	chunks  []int  // ascending
	patch   bool   // they come out of one patch, in one fetch; otherwise each comes by itself
	group   int    // that patch's place among the groups
	lacking int    // how many of them this device lacks
}

// Pack is how a device gets chunks by patches: groups that come together, out of a pack. Devices with the same pack own
// its groups by turns; between devices with different packs, the pack that covers more goes first.
type Pack struct {
	ID     string // of the groups; devices with one base have one id. Empty: no pack
	Chunks Set    // that it covers
}

// before reports whether devices with pack p fetch a chunk that both packs cover, and those with pack q wait for it.
func (p Pack) before(q Pack) bool {
	if a, b := p.Chunks.Count(), q.Chunks.Count(); a != b {
		return a > b
	}
	return p.ID > q.ID
}

// PackOf returns the pack with these groups of n chunks.
func PackOf(n int, groups [][]int) Pack {
	_, pack := cut(n, groups)
	return pack
}

// cut divides the chunks into units: the groups of the pack, and blocks of GroupSize of what remains. Numbers that are
// none, or come twice, are left out of the groups.
func cut(n int, groups [][]int) (units []unit, pack Pack) {
	covered, sum := NewSet(n), sha256.New()
	for i, g := range groups {
		u := unit{patch: true, group: i}
		for _, c := range g {
			if c < 0 || c >= n || covered.Has(c) {
				continue
			}
			covered.Add(c)
			u.chunks = append(u.chunks, c)
		}
		if len(u.chunks) == 0 {
			continue
		}
		u.key = 1<<32 | uint64(u.chunks[0])
		units = append(units, u)
		fmt.Fprintln(sum, u.chunks)
	}
	pack.Chunks = covered
	if len(units) > 0 {
		pack.ID = hex.EncodeToString(sum.Sum(nil)[:8])
	}
	for first := 0; first < n; first += GroupSize {
		u := unit{key: uint64(first / GroupSize)}
		for c := first; c < min(first+GroupSize, n); c++ {
			if !covered.Has(c) {
				u.chunks = append(u.chunks, c)
			}
		}
		if len(u.chunks) > 0 {
			units = append(units, u)
		}
	}
	return units, pack
}
