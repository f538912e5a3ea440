package api

import (
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/server/release"
)

func TestPrices(t *testing.T) {
	made := time.Unix(1_800_000_000, 0)
	all := priceList([]release.Release{
		{Product: "gw", Version: "1", CreatedAt: made},
		{Product: "gw", Version: "3", CreatedAt: made.Add(time.Hour), Patches: []release.Patches{
			{Base: "1", State: release.PatchesReady, Bytes: 70},
			{Base: "2", State: release.PatchesReady, Bytes: 50},
			{Base: "0", State: release.PatchesBuilding, Bytes: 1},
		}},
	})
	for _, c := range []struct {
		version, base string
		bytes         int64
		ok            bool
	}{
		{"3", "1", 70, true},
		{"3", "2", 50, true},
		{"3", "0", 0, false}, // not ready
		{"3", "", 50, true},
		{"1", "", 0, false},
		{"9", "1", 0, false},
	} {
		if n, ok := all.Patches("gw", c.version, c.base); n != c.bytes || ok != c.ok {
			t.Errorf("%s from %q: %d %v", c.version, c.base, n, ok)
		}
	}
	if all.Made("gw", "1") != made || !all.Made("gw", "9").IsZero() || !all.Made("other", "1").IsZero() {
		t.Error("made at the wrong time")
	}
}
