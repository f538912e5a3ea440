package server

import (
	"context"

	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/release"
)

// running counts what the accepted devices run, so that there are patches from it.
func (p *parts) running(ctx context.Context) ([]release.Running, error) {
	views, _, _ := p.fleet.Views(ctx, fleet.Query{})
	count := map[release.Running]int{}
	for i := range views {
		v := &views[i]
		if runs := v.State.Report.Running; v.Admission == fleet.Accepted && runs.Version != "" {
			count[release.Running{Product: runs.Product, Version: runs.Version, Hardware: v.Hardware}]++
		}
	}
	all := make([]release.Running, 0, len(count))
	for r, n := range count {
		r.Devices = n
		all = append(all, r)
	}
	return all, ctx.Err()
}
