package policy_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

func TestCohortGrowsAndCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "devices")
		salt := rapid.String().Draw(t, "salt")
		devices := make([]string, n)
		for i := range devices {
			devices[i] = fmt.Sprintf("d-%d", i)
		}
		before := map[string]bool{}
		for _, want := range []int{0, rapid.IntRange(0, n).Draw(t, "first"), n} {
			if want < len(before) {
				continue
			}
			c := policy.Cohort{Salt: salt, Below: policy.Choose(salt, devices, want)}
			now := map[string]bool{}
			for _, d := range devices {
				if c.Includes(d) {
					now[d] = true
				}
			}
			if len(now) < want {
				t.Fatalf("%d devices where at least %d were asked for", len(now), want)
			}
			if want == 0 && len(now) != 0 {
				t.Fatalf("%d devices where none was asked for", len(now))
			}
			for d := range before {
				if !now[d] {
					t.Fatalf("%s fell out of a larger stage", d)
				}
			}
			before = now
		}
	})
}

// TestDrawIsFrozen pins the lot of a device, computed with another program: server and device of different ages must
// agree on it.
func TestDrawIsFrozen(t *testing.T) {
	if got := policy.Draw("salt", "device"); got != 150 {
		t.Errorf("Draw(salt, device) = %d", got)
	}
}

var at = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func install(kind policy.AudienceKind, name string) *policy.Policy {
	return &policy.Policy{
		Schema: 1, Audience: policy.Audience{Kind: kind, Name: name}, Seq: 1, Action: policy.Install,
		IssuedAt: at, ExpiresAt: at.Add(time.Hour), Health: policy.Health{DeadlineSeconds: 60},
		Release: &policy.Release{
			Product: "gw", Version: "1", Counter: 1, Target: firmware.ManifestTarget("gw", "1"),
			Length: 9, SHA256: firmware.Sum([]byte("m")),
		},
	}
}

func TestDesired(t *testing.T) {
	m := &policy.Membership{Device: "d-1", Groups: []string{"a", "b"}}
	own, a, b, c := install(policy.ForDevice, "d-1"), install(policy.ForGroup, "a"), install(policy.ForGroup, "b"),
		install(policy.ForGroup, "c")
	b.Priority = 5
	c.Priority = 9
	none := install(policy.ForDevice, "d-1")
	none.Action = policy.None
	later := install(policy.ForGroup, "b")
	later.IssuedAt = at.Add(time.Minute)
	for name, tc := range map[string]struct {
		m    *policy.Membership
		in   []*policy.Policy
		want *policy.Policy
	}{
		"nothing":                      {m, nil, nil},
		"the device before its groups": {m, []*policy.Policy{b, own, a}, own},
		"the higher priority":          {m, []*policy.Policy{a, b}, b},
		"not a group it is not in":     {m, []*policy.Policy{a, c}, a},
		"no group without membership":  {nil, []*policy.Policy{a, b}, nil},
		"another's membership":         {&policy.Membership{Device: "d-2", Groups: []string{"a"}}, []*policy.Policy{a}, nil},
		"none steps aside":             {m, []*policy.Policy{none, a}, a},
		"the newer":                    {m, []*policy.Policy{later, a}, later},
	} {
		for range 2 { // in either order
			if got := policy.Desired("d-1", tc.m, tc.in); got != tc.want {
				t.Errorf("%s: got %+v", name, got)
			}
			if len(tc.in) > 1 {
				tc.in[0], tc.in[len(tc.in)-1] = tc.in[len(tc.in)-1], tc.in[0]
			}
		}
	}
}

func TestWindow(t *testing.T) {
	day := &policy.Window{Start: 2 * 60, End: 4 * 60}
	night := &policy.Window{Start: 22 * 60, End: 2 * 60}
	clock := func(h, m int) time.Time { return time.Date(2026, 1, 1, h, m, 0, 0, time.UTC) }
	for _, tc := range []struct {
		w    *policy.Window
		at   time.Time
		open bool
	}{
		{nil, clock(13, 0), true},
		{day, clock(1, 59), false},
		{day, clock(2, 0), true},
		{day, clock(3, 59), true},
		{day, clock(4, 0), false},
		{night, clock(21, 59), false},
		{night, clock(22, 0), true},
		{night, clock(1, 59), true},
		{night, clock(2, 0), false},
	} {
		if got := tc.w.Open(tc.at); got != tc.open {
			t.Errorf("%+v at %s: %v", tc.w, tc.at.Format("15:04"), got)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*policy.Policy){
		"schema":     func(p *policy.Policy) { p.Schema = 2 },
		"audience":   func(p *policy.Policy) { p.Audience.Name = "../x" },
		"kind":       func(p *policy.Policy) { p.Audience.Kind = "site" },
		"seq zero":   func(p *policy.Policy) { p.Seq = 0 },
		"seq jump":   func(p *policy.Policy) { p.Seq = 1 << 50 },
		"expiry":     func(p *policy.Policy) { p.ExpiresAt = p.IssuedAt },
		"action":     func(p *policy.Policy) { p.Action = "erase" },
		"no release": func(p *policy.Policy) { p.Release = nil },
		"target":     func(p *policy.Policy) { p.Release.Target = "gw/2/release.json" },
		"length":     func(p *policy.Policy) { p.Release.Length = 1 << 40 },
		"below":      func(p *policy.Policy) { p.Cohort.Below = policy.Everyone + 1 },
		"window":     func(p *policy.Policy) { p.Window = &policy.Window{Start: 60, End: 60} },
		"deadline":   func(p *policy.Policy) { p.Health.DeadlineSeconds = 0 },
	} {
		p := install(policy.ForGroup, "all")
		spoil(p)
		k, _ := signer(t)
		if _, err := policy.Seal(p, k); !errors.Is(err, policy.ErrMalformed) {
			t.Errorf("%s: sealed, or %v", name, err)
		}
	}
}
