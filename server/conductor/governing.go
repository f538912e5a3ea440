package conductor

import (
	"context"
	"slices"
	"strings"

	"github.com/waxwing-ota/waxwing/server/rollout"
	"github.com/waxwing-ota/waxwing/server/store"
)

// Governing returns the newest rollout of each group, newest first, each as Get does. It reads memory only: all that has
// not ended is among them.
func (c *Conductor) Governing(ctx context.Context) ([]store.Entry[*rollout.Rollout], error) {
	var out []store.Entry[*rollout.Rollout]
	err := c.call(ctx, func(context.Context) error {
		for _, l := range c.governing {
			out = append(out, store.Entry[*rollout.Rollout]{Key: l.ID, Value: copied(l.Rollout), Revision: l.revision})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b store.Entry[*rollout.Rollout]) int { return strings.Compare(b.Key, a.Key) })
	return out, err
}
