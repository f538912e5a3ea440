package limit_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/agent/limit"
)

const MiB = 1 << 20

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestHours(t *testing.T) {
	at := func(clock string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", "2026-03-04 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		hours, now string
		open       bool
		opens      time.Time
	}{
		{`["22:00-06:00"]`, "12:00", false, at("22:00")},
		{`["22:00-06:00"]`, "23:59", true, at("23:59")},
		{`["22:00-06:00"]`, "05:59", true, at("05:59")},
		{`["22:00-06:00"]`, "06:00", false, at("22:00")},
		{`["18:00-24:00"]`, "23:59", true, at("23:59")},
		{`["18:00-24:00"]`, "00:00", false, at("18:00")},
		{`["01:00-02:00"]`, "02:00", false, at("01:00").Add(24 * time.Hour)},
		{`["01:00-02:00","13:30-14:00"]`, "12:00", false, at("13:30")},
		{`[]`, "12:00", true, at("12:00")},
	} {
		var l limit.Limit
		if err := json.Unmarshal([]byte(`{"hours":`+c.hours+`}`), &l); err != nil {
			t.Fatal(err)
		}
		zone := at(c.now).In(time.FixedZone("far", 7*3600)) // the device's zone does not matter
		if l.Open(zone) != c.open || !l.Opens(zone).Equal(c.opens) {
			t.Errorf("%s at %s: open %v, opens %s; want %v, %s", c.hours, c.now, l.Open(zone), l.Opens(zone), c.open, c.opens)
		}
	}
	for _, bad := range []string{`"22-06"`, `"22:00-25:00"`, `"22:00"`, `"12:00-12:00"`, `"00:00-24:00"`, `"24:00-06:00"`, `"22:60-23:00"`, `22`, `"+1:00-02:00"`, `""`} {
		var h limit.Hours
		if err := json.Unmarshal([]byte(bad), &h); err == nil {
			t.Errorf("%s is taken as %s", bad, h)
		}
	}
}

func FuzzHours(f *testing.F) {
	f.Add("22:00-06:00")
	f.Add("00:00-24:00")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(s)
		var h, again limit.Hours
		if err != nil || json.Unmarshal(b, &h) != nil {
			return
		}
		if b, err = json.Marshal(h); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &again); err != nil || again != h {
			t.Errorf("%q became %s: %v", s, b, err)
		}
	})
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		l    limit.Limit
		well bool
	}{
		{limit.Limit{}, true},
		{limit.Limit{BytesPerHour: 200e6, BytesPerSecond: 1e6}, true},
		{limit.Limit{BytesPerHour: limit.LeastHour, BytesPerSecond: 64 << 10}, true},
		{limit.Limit{BytesPerHour: 1000}, false},
		{limit.Limit{BytesPerHour: -1}, false},
		{limit.Limit{BytesPerHour: 1 << 60}, false},
		{limit.Limit{BytesPerSecond: 100}, false},
		{limit.Limit{BytesPerSecond: -5}, false},
		{limit.Limit{Hours: make([]limit.Hours, 100)}, false},
	} {
		if err := c.l.Check(); (err == nil) != c.well {
			t.Errorf("%+v: %v", c.l, err)
		}
	}
}

func TestBytes(t *testing.T) {
	got := []string{limit.Bytes(200e6), limit.Bytes(1_250_000_000), limit.Bytes(16 << 10), limit.Bytes(12)}
	if diff := cmp.Diff([]string{"200 MB", "1.2 GB", "16.3 kB", "12 bytes"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestLedger tells a day of a device.
func TestLedger(t *testing.T) {
	l := limit.NewLedger(limit.Limit{BytesPerHour: 8 * MiB})
	now := noon
	at := func(s string) time.Time {
		c, err := time.Parse("15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		now = noon.Truncate(24 * time.Hour).Add(c.Sub(c.Truncate(24 * time.Hour)))
		return now
	}
	take := func(when string, n int64, refused string) {
		t.Helper()
		got := ""
		if _, r := l.Take(n, at(when)); r != nil {
			got = r.Text("the uplink")
		}
		if got != refused {
			t.Fatalf("%s: %q, want %q", when, got, refused)
		}
	}
	take("12:00:30", 4*MiB, "")
	l.Give(4*MiB, 3*MiB, at("12:00:50"))
	take("12:20:00", 4*MiB, "")
	take("12:20:00", 2*MiB, "the uplink's limit of 8.3 MB an hour is used up until 13:01 UTC") // 7 MiB have moved or may
	l.Give(4*MiB, 4*MiB, at("12:25:10"))
	take("12:30:00", MiB, "the uplink's limit of 8.3 MB an hour is used up until 13:01 UTC") // it would fit, but shut is shut
	take("13:00:59", MiB, "the uplink's limit of 8.3 MB an hour is used up until 13:01 UTC")
	take("13:01:00", 4*MiB, "") // the 3 MiB of 12:00 are an hour old
	take("13:01:00", MiB, "the uplink's limit of 8.3 MB an hour is used up until 13:26 UTC")
	l.Give(4*MiB, 0, at("13:02:00")) // it failed
	take("13:02:00", MiB, "")
	l.Give(MiB, MiB, at("13:02:00"))
	take("12:02:00", 4*MiB, "the uplink's limit of 8.3 MB an hour is used up until 13:03 UTC") // the clock goes back: nothing is forgotten
	take("13:04:00", MiB, "the uplink's limit of 8.3 MB an hour is used up until 13:26 UTC")   // and forward again: neither
	take("13:26:00", 4*MiB, "")
}

func TestLedgerIsClosed(t *testing.T) {
	var l limit.Limit
	if err := json.Unmarshal([]byte(`{"hours":["22:00-06:00"]}`), &l); err != nil {
		t.Fatal(err)
	}
	r := limit.NewLedger(l).Shut(noon)
	if r == nil || r.Text("the uplink") != "the uplink's hours begin again at 22:00 UTC" {
		t.Errorf("%+v", r)
	}
	if r := limit.NewLedger(l).Shut(noon.Add(10 * time.Hour)); r != nil {
		t.Errorf("%+v", r)
	}
}

// TestPace holds that the bytes of a second come one after the other, or later.
func TestPace(t *testing.T) {
	l := limit.NewLedger(limit.Limit{BytesPerSecond: MiB})
	for i, want := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
		if wait, r := l.Take(MiB/2, noon); r != nil || wait != want {
			t.Errorf("%d: %v, %v", i, wait, r)
		}
	}
	_, r := l.Take(MiB/2, noon)
	if r == nil || r.Why != limit.Busy || !r.Until.Equal(noon.Add(1500*time.Millisecond)) || !strings.Contains(r.Text("the LAN"), "for now") {
		t.Errorf("%+v", r)
	}
	if wait, r := l.Take(MiB/2, noon.Add(3*time.Second)); r != nil || wait != 0 {
		t.Errorf("later: %v, %v", wait, r)
	}
	if _, r := l.Take(MiB/2, noon.Add(-24*time.Hour)); r != nil {
		t.Errorf("after the clock went back: %+v", r)
	}
}

// What the properties draw from: near the edges, where it matters.
var (
	steps = []time.Duration{0, time.Second, 31 * time.Second, 5 * time.Minute, 29*time.Minute + 30*time.Second, 59*time.Minute + 45*time.Second}
	sizes = []int64{1, 300 << 10, MiB, 3 * MiB, 4 * MiB}
)

// TestNeverMoreInAnHour moves bytes in any order, speed and number at once, and counts what moved in every sixty minutes.
func TestNeverMoreInAnHour(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		per := rapid.Int64Range(limit.LeastHour, 12*MiB).Draw(t, "limit")
		l := limit.NewLedger(limit.Limit{BytesPerHour: per})
		now := noon.Add(40 * time.Second)
		type moved struct {
			at time.Time
			n  int64
		}
		type flight struct{ took, moved int64 }
		var log []moved
		var flying []flight
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(rapid.SampledFrom(steps).Draw(t, "later"))
			switch rapid.SampledFrom([]string{"take", "take", "move", "give"}).Draw(t, "do") {
			case "take":
				n := rapid.SampledFrom(sizes).Draw(t, "bytes")
				_, r := l.Take(n, now)
				if r == nil {
					flying = append(flying, flight{took: n})
				} else if !r.Until.After(now) {
					t.Fatalf("refused until %s at %s", r.Until, now)
				}
			case "move":
				for i := range flying {
					n := (flying[i].took - flying[i].moved) / rapid.SampledFrom([]int64{1, 1, 3}).Draw(t, "part")
					flying[i].moved += n
					log = append(log, moved{now, n})
				}
			case "give":
				if len(flying) > 0 {
					l.Give(flying[0].took, flying[0].moved, now)
					flying = flying[1:]
				}
			}
			var sum int64
			for _, m := range log {
				if now.Sub(m.at) <= time.Hour {
					sum += m.n
				}
			}
			if sum > per {
				t.Fatalf("%d bytes moved within an hour, the limit is %d", sum, per)
			}
		}
		// When all is done and the time that it says has come, it opens.
		for _, f := range flying {
			l.Give(f.took, f.moved, now)
		}
		if r := l.Shut(now); r != nil {
			if got := l.Shut(r.Until); got != nil {
				t.Fatalf("it said %s, and then %s", r.Until, got.Until)
			}
		}
	})
}
