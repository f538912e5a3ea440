package trust_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/signing/trust"
)

// TestClocks starts a device in every year that clocks start in, with nothing remembered and with all of it. What is old is
// not taken, a clock that is behind stops nothing, and one that is ahead stops installs until it is set (security cases 81,
// 82): nothing of it is remembered.
func TestClocks(t *testing.T) {
	right := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 1, 0, time.UTC) }
	for _, clock := range []time.Time{time.Unix(0, 0), year(2000), year(2016), year(2036), year(2038).AddDate(0, 1, 0), year(2100), year(2106).AddDate(0, 2, 0)} {
		for _, begun := range []bool{false, true} {
			t.Run(fmt.Sprint(clock.Year(), begun), func(t *testing.T) {
				s := newSite(t)
				s.now = right
				p := s.install(s.release("1.0.0", 1))
				if begun {
					d := s.device()
					s.must(d.Refresh(t.Context()))
					s.accept(d, s.membership(1, "all"))
				}
				old := maps.Clone(s.files)
				s.timestamp(func(ts *metadata.TimestampType) { ts.Version++ })

				s.now = clock
				d := s.device()
				behind := clock.Before(right)
				if !behind {
					refused(t, d.Refresh(t.Context()), trust.ErrExpired)
					if _, err := d.Accept(s.seal(p)); err == nil {
						t.Fatal("accepted what had ended")
					}
				} else {
					s.must(d.Refresh(t.Context()))
					if !begun {
						m := s.membership(1, "all")
						m.IssuedAt, m.ExpiresAt = right, right.Add(720*time.Hour)
						s.accept(d, m)
					}
					s.accept(d, p)
					s.still(d, p)
					if c := d.Clock(); !c.Judged.Equal(right) || c.Doubt != trust.ClockBehind {
						t.Errorf("clock %+v", c)
					}
					newest := s.files
					s.files = old
					refused(t, d.Refresh(t.Context()), trust.ErrRollback)
					s.files = newest
				}
				if begun && !behind {
					if c := d.Clock(); c.Doubt != trust.ClockAhead {
						t.Errorf("clock %+v", c)
					}
				}

				// The clock is set: whatever it was, the device goes on.
				s.now = right.Add(time.Minute)
				d = s.device()
				s.must(d.Refresh(t.Context()))
				m := s.membership(2, "all")
				p.Seq++
				s.accept(d, m)
				s.accept(d, p)
				s.still(d, p)
				if c := d.Clock(); c.Doubt != trust.ClockSure {
					t.Errorf("clock %+v", c)
				}
			})
		}
	}
}

// TestFloor: signed times move it forward, never back, and no further than the release plane stands, so that a stolen policy
// key cannot make a device believe that everything has ended (security case 82). The time of the build is the least.
func TestFloor(t *testing.T) {
	s := newSite(t)
	right := s.now
	d, p := s.follows("1.0.0", 1)
	s.now = time.Unix(0, 0)
	for i, years := range []int{10, 1} {
		q := *p
		q.Seq, q.Action = uint64(10+i), "hold"
		q.IssuedAt = right.AddDate(years, 0, 0)
		q.ExpiresAt = q.IssuedAt.Add(time.Hour)
		s.accept(d, &q)
		if c := d.Clock(); !c.Floor.Equal(right) {
			t.Fatalf("the floor moved to %s", c.Floor)
		}
	}
	q := *p
	q.Seq, q.IssuedAt = 20, right.Add(48*time.Hour)
	s.accept(d, &q)
	if c := s.device().Clock(); !c.Floor.Equal(q.IssuedAt) {
		t.Fatalf("after a restart the floor is %s", c.Floor)
	}
	q.Seq, q.IssuedAt = 21, right
	s.accept(d, &q)
	if c := d.Clock(); !c.Floor.Equal(right.Add(48 * time.Hour)) {
		t.Fatalf("the floor fell to %s", c.Floor)
	}

	built := right.Add(96 * time.Hour)
	d, err := trust.Open(trust.Options{
		Dir: s.dir, Root: s.files["metadata/1.root.json"], Device: "d-1", Fetch: s, Now: func() time.Time { return s.now }, Built: built,
	})
	s.must(err)
	if c := d.Clock(); !c.Judged.Equal(built) || c.Doubt != trust.ClockBehind {
		t.Errorf("clock %+v", c)
	}
	s.now = built.Add(400*24*time.Hour + time.Second)
	if c := d.Clock(); c.Doubt != trust.ClockAhead {
		t.Errorf("clock %+v", c)
	}
	s.dir = t.TempDir()
	if c := s.device().Clock(); c.Doubt != trust.ClockUnproven {
		t.Errorf("clock %+v", c)
	}
}

// TestFloorAfterSleep: what was signed while a device slept moves the floor once the repository has confirmed that time.
func TestFloorAfterSleep(t *testing.T) {
	s := newSite(t)
	d, p := s.follows("1.0.0", 1)
	right := s.now.Add(30 * 24 * time.Hour)
	s.now = right
	s.must(s.repo.Refresh(t.Context()))
	m := s.membership(2, "all")
	s.now = time.Unix(0, 0)
	s.accept(d, m)
	if c := d.Clock(); !c.Floor.Equal(p.IssuedAt) {
		t.Fatalf("the floor is %s", c.Floor)
	}
	s.must(d.Refresh(t.Context()))
	if c := d.Clock(); !c.Floor.Equal(right) {
		t.Fatalf("the floor is %s", c.Floor)
	}
}
