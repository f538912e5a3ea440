package fleet_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/store"
)

func TestGroupsAndMemberships(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.enroll("d-1", map[string]string{"site": "oslo"})
	w.enroll("d-2", map[string]string{"site": "rome"})
	if _, err := w.PutGroup(ctx, fleet.Group{Name: "north", Selector: "sight=oslo"}, false); !errors.Is(err, fleet.ErrLabelUnknown) ||
		!strings.Contains(err.Error(), "site") {
		t.Fatal(err)
	}
	for _, bad := range []fleet.Group{
		{Name: "North"},
		{Name: fleet.AllGroup, Selector: "site=oslo"},
		{Name: "x", Selector: "site="},
		{Name: "x", Selector: "online=true"},
		{Name: "x", Priority: 1001},
		{Name: "x", Selector: "group=all"},
	} {
		if _, err := w.PutGroup(ctx, bad, true); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	g, err := w.PutGroup(ctx, fleet.Group{Name: "north", Selector: "site=oslo", Priority: 5}, false)
	if err != nil || g.Devices != 1 {
		t.Fatal(g, err)
	}
	told := func(device string, groups ...string) {
		t.Helper()
		eventually(t, fmt.Sprint(device, " is told ", groups), func() bool {
			m := w.membership(device)
			return m != nil && slices.Equal(m.Groups, groups)
		})
	}
	told("d-1", "all", "north")
	told("d-2", "all")
	if !w.Member("d-1", "north") || w.Member("d-2", "north") || w.Member("nobody", "all") {
		t.Fatal("Member")
	}
	first := w.membership("d-1").Seq
	rome := "rome"
	if _, err := w.Label(ctx, "d-1", map[string]*string{"site": &rome, "floor": &rome}); err != nil {
		t.Fatal(err)
	}
	told("d-1", "all")
	if second := w.membership("d-1").Seq; second <= first {
		t.Fatalf("seq %d after %d", second, first)
	}
	if v, err := w.Label(ctx, "d-1", map[string]*string{"floor": nil}); err != nil || cmp.Diff(map[string]string{"site": "rome"}, v.Labels) != "" {
		t.Fatal(v.Labels, err)
	}
	if _, err := w.PutGroup(ctx, fleet.Group{Name: "south", Selector: "site=rome"}, false); err != nil {
		t.Fatal(err)
	}
	views, err := w.Candidates(ctx, "south")
	if err != nil || len(views) != 2 || views[0].ID != "d-1" {
		t.Fatal(views, err)
	}
	told("d-2", "all", "south")
	policies := store.NewCollection[fleet.PolicyRecord](w.store, fleet.PoliciesName)
	if err := policies.Put(ctx, "south", fleet.PolicyRecord{Seq: 1, Envelope: []byte(`{"p":1}`)}); err != nil {
		t.Fatal(err)
	}
	if err := policies.Put(ctx, "north", fleet.PolicyRecord{Seq: 1, Envelope: []byte(`{"p":2}`)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the policy of the group, and of no other, is served", func() bool {
		d, err := w.Documents(ctx, "d-2")
		return err == nil && len(d.Policies) == 1 && string(d.Policies[0]) == `{"p":1}`
	})
	if err := w.DeleteGroup(ctx, "south"); err != nil {
		t.Fatal(err)
	}
	told("d-2", "all")
	if _, err := w.Candidates(ctx, "south"); !errors.Is(err, fleet.ErrGroup) {
		t.Fatal(err)
	}
	if err := w.DeleteGroup(ctx, "south"); !errors.Is(err, fleet.ErrGroup) {
		t.Fatal(err)
	}
	if err := w.DeleteGroup(ctx, fleet.AllGroup); !errors.Is(err, fleet.ErrInvalid) {
		t.Fatal(err)
	}
}

func TestMembershipsAreRenewedInTime(t *testing.T) {
	w := newWorld(t)
	w.enroll("d-1", nil)
	eventually(t, "first membership", func() bool { return w.membership("d-1") != nil })
	first := w.membership("d-1")
	w.advance(9 * 24 * time.Hour)
	w.restart() // looks at all devices
	again := w.enroll("d-2", nil)
	eventually(t, "membership of the second", func() bool { return w.membership(again.ID) != nil })
	if m := w.membership("d-1"); m.Seq != first.Seq {
		t.Fatal("renewed in its first third")
	}
	w.advance(6*24*time.Hour + time.Minute)
	w.restart()
	eventually(t, "renewed before half its life is over", func() bool { return w.membership("d-1").Seq > first.Seq })
	if m := w.membership("d-1"); m.ExpiresAt.Sub(m.IssuedAt) != fleet.MembershipLife {
		t.Fatal(m)
	}
}

// Two servers on one store see each other's writes.
func TestSecondServerFollows(t *testing.T) {
	w := newWorld(t)
	other := &world{t: t, store: w.store, identity: w.identity, signer: w.signer}
	other.start()
	defer other.stop()
	w.enroll("d-1", map[string]string{"site": "oslo"})
	if _, err := other.PutGroup(t.Context(), fleet.Group{Name: "north", Selector: "site=oslo"}, true); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*world{w, other} {
		eventually(t, "both know the device and its group", func() bool { return f.Member("d-1", "north") })
		eventually(t, "and what it was told", func() bool {
			m := f.membership("d-1")
			return m != nil && len(m.Groups) == 2
		})
	}
	if err := other.DeleteGroup(t.Context(), "north"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group is gone", func() bool { return !w.Member("d-1", "north") })
}
