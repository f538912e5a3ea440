package site

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("d-%d", i)
	}
	return out
}

// reached counts the devices that hang together with the first, when who is told of another also becomes known to it.
func reached(r ring) int {
	known := map[string][]string{}
	for _, p := range r {
		for _, other := range r.choose(p.device, nil) {
			known[p.device] = append(known[p.device], other)
			known[other] = append(known[other], p.device)
		}
	}
	seen := map[string]bool{r[0].device: true}
	for queue := []string{r[0].device}; len(queue) > 0; queue = queue[1:] {
		for _, d := range known[queue[0]] {
			if !seen[d] {
				seen[d] = true
				queue = append(queue, d)
			}
		}
	}
	return len(seen)
}

func TestAllOfASiteHangTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9]{1,6}`), 1, 200, rapid.ID).Draw(t, "devices")
		r := newRing(devices)
		if got := reached(r); got != len(devices) {
			t.Fatalf("%d of %d devices hang together", got, len(devices))
		}
		for _, d := range devices {
			list := r.choose(d, nil)
			if len(list) > protocol.MaxPeers || slices.Contains(list, d) || !slices.IsSorted(list) {
				t.Fatalf("%s is told %v", d, list)
			}
			if want := len(devices) - 1; want <= protocol.MaxPeers && len(list) != want {
				t.Fatalf("%s is told %d of %d others", d, len(list), want)
			}
		}
		if got := r.choose("nobody at all", nil); got != nil {
			t.Fatalf("a stranger is told %v", got)
		}
	})
}

// The choice is the same whoever computes it, and one more device changes the lists of few.
func TestChoiceIsStable(t *testing.T) {
	const n = 1000
	devices := names(n)
	before := newRing(devices[:n-1])
	slices.Reverse(devices)
	after := newRing(devices)
	changed, told := 0, map[string]int{}
	for _, p := range after {
		list := after.choose(p.device, nil)
		for _, d := range list {
			told[d]++
		}
		if !slices.Equal(before.choose(p.device, nil), list) {
			changed++
		}
	}
	if changed > 64 {
		t.Errorf("one more device changes %d lists of %d", changed, n)
	}
	most := 0
	for _, k := range told {
		most = max(most, k)
	}
	if len(told) != n || most > 8*protocol.MaxPeers {
		t.Errorf("%d devices of %d are told to somebody, one of them to %d", len(told), n, most)
	}
	t.Logf("%d lists change, one device is told to %d others at most", changed, most)
}

// TestDepotsComeFirst holds that everybody is told of a depot, and that all hang together still.
func TestDepotsComeFirst(t *testing.T) {
	var devices []string
	for n := range 200 {
		devices = append(devices, fmt.Sprintf("d-%03d", n))
	}
	r, stock := newRing(devices), devices[:6]
	reached := map[string]bool{"d-100": true}
	for todo := []string{"d-100"}; len(todo) > 0; todo = todo[1:] {
		list := r.choose(todo[0], stock)
		if len(list) != protocol.MaxPeers || slices.Contains(list, todo[0]) {
			t.Fatalf("%s is told %v", todo[0], list)
		}
		for _, d := range stock[:depots] {
			if d != todo[0] && !slices.Contains(list, d) {
				t.Errorf("%s is not told of %s", todo[0], d)
			}
		}
		for _, d := range list {
			if !reached[d] {
				reached[d] = true
				todo = append(todo, d)
			}
		}
	}
	if len(reached) != len(devices) {
		t.Errorf("%d of %d are reached", len(reached), len(devices))
	}
}
