package release

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/firmware"
)

// past is releases 1 to n of a product, each with a payload of its own, for some hardware.
func past(n int, hardware ...string) []Release {
	var all []Release
	for i := 1; i <= n; i++ {
		version := fmt.Sprint(i)
		all = append(all, Release{
			Product: "gw", Version: version, State: Published, Counter: uint64(i), CreatedAt: time.Unix(int64(i), 0),
			Manifest: &firmware.Manifest{
				Product: "gw", Version: version, Counter: uint64(i), Hardware: hardware,
				Components: []firmware.Component{{Name: "rootfs", SHA256: firmware.Sum([]byte(version))}},
			},
		})
	}
	return all
}

func runs(version string, devices int) Running {
	return Running{Product: "gw", Version: version, Hardware: "a", Devices: devices}
}

func names(pairs []pair) (names []string) {
	for _, p := range pairs {
		names = append(names, p.target.Version+"<"+p.base.Version)
	}
	return names
}

func TestWanted(t *testing.T) {
	yank := func(all []Release, version string) []Release {
		for i := range all {
			if all[i].Version == version {
				all[i].State = Yanked
			}
		}
		return all
	}
	two := append(past(2, "a"), past(3, "b")[2:]...) // 3 is for other hardware
	same := past(3, "a")
	same[2].Manifest.Components = same[1].Manifest.Components
	for name, c := range map[string]struct {
		all     []Release
		running []Running
		want    []string
	}{
		"nothing":                           {nil, nil, nil},
		"a first release":                   {past(1, "a"), nil, nil},
		"no devices: the one before":        {past(4, "a"), nil, []string{"4<3"}},
		"no devices, the one before yanked": {yank(past(4, "a"), "3"), nil, []string{"4<2"}},
		"all run the newest":                {past(4, "a"), []Running{runs("4", 9)}, []string{"4<3"}},
		"one version":                       {past(4, "a"), []Running{runs("2", 9)}, []string{"4<2"}},
		"most devices first":                {past(4, "a"), []Running{runs("1", 3), runs("2", 5), runs("3", 4)}, []string{"4<2", "4<3", "4<1"}},
		"the newer of equals":               {past(4, "a"), []Running{runs("1", 3), runs("2", 3)}, []string{"4<2", "4<1"}},
		"few devices are left out":          {past(4, "a"), []Running{runs("1", 4), runs("2", 96)}, []string{"4<2"}},
		"five percent are covered":          {past(4, "a"), []Running{runs("1", 6), runs("2", 94)}, []string{"4<2", "4<1"}},
		"a yanked base":                     {yank(past(3, "a"), "2"), []Running{runs("2", 9)}, []string{"3<2"}},
		"a yanked target":                   {yank(past(3, "a"), "3"), []Running{runs("1", 9)}, []string{"2<1"}},
		"back is not the way":               {yank(past(3, "a"), "3"), []Running{runs("3", 9)}, nil},
		"a version nobody knows":            {past(3, "a"), []Running{runs("factory", 9), runs("1", 1)}, []string{"3<1"}},
		"other hardware":                    {two, []Running{runs("1", 9)}, []string{"2<1"}},
		"the same image":                    {same, []Running{runs("2", 9), runs("1", 5)}, []string{"3<1"}},
		"another product":                   {past(2, "a"), []Running{{Product: "x", Version: "1", Hardware: "a", Devices: 9}}, []string{"2<1"}},
	} {
		if got := names(wanted(c.all, c.running)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Whatever runs where: no more than eight bases, each one that devices run, and enough of them or all there are.
func TestBasesCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := past(20, "a")
		target := &all[19]
		var running []Running
		devices := map[string]int{}
		total := 0
		for _, n := range rapid.SliceOfDistinct(rapid.IntRange(1, 19), rapid.ID).Draw(t, "versions") {
			r := runs(fmt.Sprint(n), rapid.IntRange(1, 1000).Draw(t, "devices"))
			running = append(running, r)
			devices[r.Version] = r.Devices
			total += r.Devices
		}
		got := bases(target, all, running)
		sum, last := 0, 1<<30
		for _, b := range got {
			n := devices[b.Version]
			if n > last {
				t.Fatalf("%d devices after %d", n, last)
			}
			if total > 0 && (n == 0 || 100*sum >= covered*total) {
				t.Fatalf("%s with %d devices adds nothing that is needed", b.Version, n)
			}
			sum, last = sum+n, n
		}
		if len(got) > maxBases || len(got) < min(maxBases, len(running)) && 100*sum < covered*total {
			t.Fatalf("%d bases of %d cover %d of %d", len(got), len(running), sum, total)
		}
	})
}

func TestUseless(t *testing.T) {
	all := past(3, "a")
	all[0].State, all[1].State = Yanked, Yanked
	all[2].Manifest.Components[0].SHA256 = all[0].Manifest.Components[0].SHA256 // the image of 1 again
	for _, c := range []struct {
		payload string
		running []Running
		want    bool
	}{
		{"1", nil, false}, // 3 has it too
		{"2", nil, true},
		{"2", []Running{runs("2", 1)}, false},
		{"2", []Running{runs("2", 0)}, true},
		{"3", nil, true}, // of no release
	} {
		if got := useless(firmware.Sum([]byte(c.payload)), all, c.running); got != c.want {
			t.Errorf("payload of %s while %v: %v", c.payload, c.running, got)
		}
	}
}
