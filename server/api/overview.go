package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/rollout"
	"github.com/waxwing-ota/waxwing/server/store"
)

// soon is how long before an expiry people hear of it.
const soon = 7 * 24 * time.Hour

// GetOverview implements the operation.
func (s *Server) GetOverview(ctx context.Context, _ GetOverviewRequestObject) (GetOverviewResponseObject, error) {
	now := s.Now()
	counts, err := s.census(ctx)
	if err != nil {
		return nil, err
	}
	rollouts, err := s.Rollouts.Governing(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := s.Auth.List(ctx)
	if err != nil {
		return nil, err
	}
	v := GetOverview200JSONResponse{
		AsOf: now.UTC(), Devices: counts.devices, Online: counts.online, Phases: counts.phases, Bytes: bytesView(counts.bytes),
		NeedsYou: needsYou(counts, rollouts, tokens, now), Versions: versionCounts(counts), ActiveRollouts: []Rollout{},
	}
	for _, e := range rollouts {
		if !e.Value.Ended() {
			v.ActiveRollouts = append(v.ActiveRollouts, rolloutView(e.Value, e.Revision, now))
		}
	}
	return v, nil
}

// versionCounts lists what the fleet runs, most first.
func versionCounts(c census) []VersionCount {
	out := make([]VersionCount, 0, len(c.versions))
	for key, n := range c.versions {
		filter := "!version"
		if key.version != "" {
			filter = fmt.Sprintf("product=%s, version=%s", key.product, key.version)
		}
		out = append(out, VersionCount{Product: key.product, Version: key.version, Devices: n, Filter: &filter})
	}
	slices.SortFunc(out, func(a, b VersionCount) int {
		return cmp.Or(cmp.Compare(b.Devices, a.Devices), cmp.Compare(a.Product, b.Product), cmp.Compare(a.Version, b.Version))
	})
	return out
}

// needsYou lists what waits for a person. It is pure.
func needsYou(c census, governing []store.Entry[*rollout.Rollout], tokens []auth.Token, now time.Time) []NeedsYou {
	list := []NeedsYou{}
	add := func(kind NeedsYouKind, id, format string, a ...any) {
		list = append(list, NeedsYou{Kind: kind, Id: id, Text: fmt.Sprintf(format, a...)})
	}
	for _, e := range governing {
		r := e.Value
		what := fmt.Sprintf("%s %s to %s", r.Spec.Product, r.Spec.Version, r.Spec.Group)
		switch {
		case r.State == rollout.Paused:
			add(NeedsYouKindHalted, r.ID, "The rollout of %s is paused.", what)
		case !r.Ended() && r.Gate(now) == rollout.GateApproval:
			add(NeedsYouKindApproval, r.ID, "The rollout of %s waits for you to promote stage %d.", what, r.Stage+1)
		case r.State == rollout.Aborted:
			add(NeedsYouKindHalted, r.ID, "The rollout of %s stopped: %s.", what, last(r.Decisions).Text)
		}
	}
	for i, id := range c.pending {
		if i == 20 {
			add(NeedsYouKindPendingDevice, "*", "%d more devices wait to be accepted.", len(c.pending)-i)
			break
		}
		add(NeedsYouKindPendingDevice, id, "Device %s waits to be accepted.", id)
	}
	for _, t := range tokens {
		if left := t.ExpiresAt.Sub(now); left > 0 && left < soon {
			name := t.Note
			if name == "" {
				name = t.ID
			}
			add(NeedsYouKindExpiry, t.ID, "The operator token %s expires on %s.", name, t.ExpiresAt.Format(time.DateOnly))
		}
	}
	return list
}
