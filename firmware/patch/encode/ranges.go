package encode

import (
	"cmp"
	"slices"

	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

const (
	bucket  = 12 // bits of a diagonal that vote together
	margin  = 16 << 10
	maxDiag = 6
)

// resemble returns the ranges of the base that explain target bytes, which lie at offset in the target.
func (a *anchors) resemble(b []byte, size int64) []delta.Range {
	type vote struct {
		diag   int64
		n      int
		lo, hi int // anchors in b
	}
	type hit struct {
		at   int
		diag int64
	}
	var hits []hit
	a.each(b, func(key uint64, at int) {
		a.look(key, func(p int64) { hits = append(hits, hit{at, p - int64(at)}) })
	})
	votes := map[int64]*vote{}
	for _, h := range hits {
		v := votes[h.diag>>bucket]
		if v == nil {
			v = &vote{diag: h.diag >> bucket, lo: h.at}
			votes[h.diag>>bucket] = v
		}
		v.n++
		v.hi = h.at
	}
	all := make([]*vote, 0, len(votes))
	for _, v := range votes {
		all = append(all, v)
	}
	slices.SortFunc(all, func(x, y *vote) int { return cmp.Or(cmp.Compare(y.n, x.n), cmp.Compare(x.diag, y.diag)) })
	var out []delta.Range
	for i, v := range all {
		if i == maxDiag || v.n < 2 || v.n*50 < all[0].n {
			break
		}
		lo := v.diag<<bucket + int64(v.lo) - margin
		hi := v.diag<<bucket + int64(v.hi) + window + 1<<bucket + margin
		if i == 0 { // the best one goes on to both ends
			lo, hi = min(lo, v.diag<<bucket-margin), max(hi, v.diag<<bucket+int64(len(b))+margin)
		}
		lo, hi = max(lo, 0), min(hi, size)
		if hi > lo {
			out = append(out, delta.Range{Offset: lo, Length: hi - lo})
		}
	}
	return out
}

// merge sorts ranges and joins those that touch.
func merge(s []delta.Range) []delta.Range {
	slices.SortFunc(s, func(x, y delta.Range) int { return cmp.Compare(x.Offset, y.Offset) })
	var out []delta.Range
	for _, x := range s {
		if n := len(out); n > 0 && x.Offset <= out[n-1].Offset+out[n-1].Length {
			out[n-1].Length = max(out[n-1].Length, x.Offset+x.Length-out[n-1].Offset)
			continue
		}
		out = append(out, x)
	}
	return out
}
