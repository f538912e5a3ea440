package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/agenttest"
)

// TestMetadataIsFetchedOnce lets five devices update and counts what each file beside chunks is asked of the server for: what
// a digest proves about once, what is fresh by each.
func TestMetadataIsFetchedOnce(t *testing.T) {
	const devices = 5
	cloud := agenttest.NewCloud(t)
	town(t, cloud, devices, nil)
	var mu sync.Mutex
	asked := map[string]int{}
	kind := regexp.MustCompile(`^(metadata|targets)/.*?([a-z]+\.(json|caibx))$`)
	cloud.Gate(func(path string) {
		mu.Lock()
		defer mu.Unlock()
		if m := kind.FindStringSubmatch(path); m != nil {
			asked[m[2]]++
		}
	})
	cloud.Wish(cloud.Publish("1.0.0", 1, "qemu-arm64", text(2<<20)), nil)
	for n := range devices {
		committed(cloud, fmt.Sprintf("d-%d", n+1), "1.0.0")
	}
	mu.Lock()
	defer mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		t.Logf("%s: %d times", name, asked[name])
	}
	for _, name := range []string{"snapshot.json", "edge.json", "release.json", "rootfs.caibx"} {
		if n := asked[name]; n < 1 || n > 2 { // two that begin at once and do not see each other's word
			t.Errorf("%s was asked for %d times by %d devices", name, n, devices)
		}
	}
	for _, name := range []string{"timestamp.json", "root.json"} {
		if asked[name] < devices {
			t.Errorf("%s was asked for %d times by %d devices: it must be fresh", name, asked[name], devices)
		}
	}
}
