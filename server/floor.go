package server

import (
	"context"
	"fmt"

	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// raise lets the repository go on above what this server's policies demand of devices: when its files were restored from a
// backup that is older than the store, devices would refuse everything that is published below that.
func (s *Server) raise(ctx context.Context, p *parts) error {
	mine := &policy.Keys{Schema: 1, Policy: public.Any(p.keys.policy.Public())}
	all, _, err := store.NewCollection[fleet.PolicyRecord](p.store, fleet.PoliciesName).List(ctx, store.Page{})
	if err != nil {
		return err
	}
	var floor int64
	for _, e := range all {
		if d, err := policy.Open(e.Value.Envelope, mine); err == nil {
			if d, ok := d.(*policy.Policy); ok {
				floor = max(floor, d.SnapshotFloor)
			}
		}
	}
	if at := p.repo.SnapshotVersion(); at < floor {
		s.o.Log.Warn("the repository is older than what policies demand, as after a restore from a backup; its versions go on above that",
			"snapshot", at, "policies", floor)
	}
	if err := p.repo.Raise(ctx, floor); err != nil {
		return fmt.Errorf("go on above snapshot %d: %w", floor, err)
	}
	return nil
}
