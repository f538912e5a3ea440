package encode

import (
	"cmp"
	"slices"

	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

const (
	bucket   = 12       // bits of a displacement that vote together
	margin   = 16 << 10 // bytes around what the anchors show
	most     = 6        // displacements of one chunk
	mostBase = 24 << 20 // bytes of the base for one group; what votes less is left out beyond it
)

// resemble returns the ranges of a base of size bytes that look like b: those of the few displacements that most anchors of
// b vote for, best first.
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
		if i == most || v.n < 2 || v.n*50 < all[0].n {
			break
		}
		lo := v.diag<<bucket + int64(v.lo) - margin
		hi := v.diag<<bucket + int64(v.hi) + window + 1<<bucket + margin
		if i == 0 { // the best one goes on to both ends
			lo, hi = min(lo, v.diag<<bucket-margin), max(hi, v.diag<<bucket+int64(len(b))+margin)
		}
		lo, hi = max(lo, 0)&^(1<<bucket-1), min((hi+1<<bucket-1)&^(1<<bucket-1), size) // whole pages: words stay aligned
		if hi > lo {
			out = append(out, delta.Range{Offset: lo, Length: hi - lo})
		}
	}
	return out
}

// choose returns what stays of the ranges that each chunk of a group asks for: sorted, apart, and not too much.
func choose(wanted [][]delta.Range) []delta.Range {
	for best := most; ; best-- {
		var all []delta.Range
		for _, w := range wanted {
			all = append(all, w[:min(best, len(w))]...)
		}
		all = merge(all)
		total := int64(0)
		for _, r := range all {
			total += r.Length
		}
		if total <= mostBase || best == 1 {
			return all
		}
	}
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
