package swarm

import "errors"

// Near says how many devices away the nearest is that has a chunk, by the chunk's number; 0: nobody is known to. It passes
// from device to device and grows on the way, so that what is not true any more is not passed round for ever (as the metric
// of RIP, RFC 2453 section 3.4.3).
type Near []uint8

// mostHops is further than anybody is.
const mostHops = 12

// Runs returns the travelling form: first, count, hops for each run.
func (n Near) Runs() []int {
	var runs []int
	for c, hops := range n {
		switch {
		case hops == 0:
		case c > 0 && n[c-1] == hops:
			runs[len(runs)-2]++
		default:
			runs = append(runs, c, 1, int(hops))
		}
	}
	return runs
}

// ParseNear is the inverse of Runs for n chunks. Runs that overlap, fall or pass n, and more hops than there can be, are
// refused.
func ParseNear(n int, runs []int) (Near, error) {
	out, from := make(Near, n), 0
	if len(runs)%3 != 0 {
		return nil, errors.New("runs of what is near come in threes")
	}
	for i := 0; i < len(runs); i += 3 {
		first, count, hops := runs[i], runs[i+1], runs[i+2]
		if first < from || count <= 0 || count > n-first || hops < 1 || hops > mostHops {
			return nil, errors.New("these are no runs of that many chunks")
		}
		for c := first; c < first+count; c++ {
			out[c] = uint8(hops)
		}
		from = first + count
	}
	return out, nil
}
