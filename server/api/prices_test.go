package api

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/site"
)

func TestPrices(t *testing.T) {
	made := time.Unix(1_800_000_000, 0)
	got := priceList([]release.Release{
		{Product: "gw", Version: "1", CreatedAt: made, Size: release.Size{Payload: 900, Stored: 300}},
		{
			Product: "gw", Version: "3", CreatedAt: made.Add(time.Hour), Size: release.Size{Payload: 900, Stored: 300, Distinct: 600},
			Manifest: &firmware.Manifest{Components: []firmware.Component{{Index: firmware.File{Size: 20}}, {Index: firmware.File{Size: 3}}}},
			Patches: []release.Patches{
				{Base: "1", State: release.PatchesReady, Bytes: 70},
				{Base: "2", State: release.PatchesReady, Bytes: 50},
				{Base: "0", State: release.PatchesBuilding, Bytes: 1},
			},
		},
	})
	want := prices{
		{"gw", "1"}: {Made: made, Whole: 300, Plain: 900, Patches: map[string]int64{}},
		{"gw", "3"}: {Made: made.Add(time.Hour), Whole: 323, Plain: 600, Patches: map[string]int64{"1": 70, "2": 50}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if r, ok := got.Release("gw", "9"); ok || !cmp.Equal(r, site.Release{}) {
		t.Errorf("%+v", r)
	}
}
