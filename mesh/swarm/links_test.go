package swarm_test

import (
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// TestBusyIsAskedSeldom has a neighbour that is not in the swarm yet, and one that has followers enough: word that they are in
// it lets the first be asked again at once, and not the other, of whom there is word every second.
func TestBusyIsAskedSeldom(t *testing.T) {
	l := swarm.NewLinks(swarm.LinkOptions{Self: "me"})
	now := time.Unix(0, 0)
	asked := map[string]int{}
	step := func(event any) {
		for effects := l.Step(event, now); len(effects) > 0; {
			var more []any
			for _, e := range effects {
				f, ok := e.(swarm.Follow)
				if !ok {
					t.Fatalf("%T", e)
				}
				asked[f.Device]++
				more = append(more, l.Step(swarm.Refused{Device: f.Device, Busy: f.Device == "busy"}, now)...)
			}
			effects = more
		}
	}
	step(swarm.Began{})
	step(swarm.Sighted{Devices: []string{"busy", "early"}})
	for range 1200 {
		now = now.Add(100 * time.Millisecond)
		step(swarm.Ticked{})
	}
	if asked["early"] < 50 || asked["early"] > 70 || asked["busy"] < 10 || asked["busy"] > 20 {
		t.Errorf("in two minutes they were asked %v times", asked)
	}
	now = now.Add(100 * time.Millisecond)
	clear(asked)
	step(swarm.Known{Devices: []string{"busy", "early"}})
	if asked["early"] != 1 || asked["busy"] != 0 {
		t.Errorf("after word of them they were asked %v times", asked)
	}
}
