package limit_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/agent/limit"
)

func meter(t *testing.T, o limit.Options) *limit.Meter {
	t.Helper()
	o.Of, o.Log = "the uplink", slog.New(slog.NewTextHandler(t.Output(), nil))
	if o.File == "" {
		o.File = filepath.Join(t.TempDir(), "uplink.json")
	}
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	return limit.Open(o)
}

// TestRestart holds that neither a restart nor a power cut makes bytes forgotten, and that little more is counted.
func TestRestart(t *testing.T) {
	o := limit.Options{Limit: limit.Limit{BytesPerHour: 16 * MiB}, File: filepath.Join(t.TempDir(), "uplink.json")}
	m := meter(t, o)
	moved, err := m.Take(t.Context(), 4*MiB)
	if err != nil {
		t.Fatal(err)
	}
	moved(3 * MiB)
	if _, err := m.Take(t.Context(), 4*MiB); err != nil { // and then the power goes
		t.Fatal(err)
	}
	m = meter(t, o)
	if _, err := m.Take(t.Context(), 10*MiB); err == nil {
		t.Error("what was on its way is forgotten")
	}
	m = meter(t, o)
	if moved, err = m.Take(t.Context(), 4*MiB); err != nil {
		t.Fatalf("much more than 8 MiB count: %v", err)
	}
	moved(0)
	m.Close()
	m = meter(t, o)
	for range 2 {
		if moved, err = m.Take(t.Context(), 4*MiB); err != nil {
			t.Fatalf("much more than 8 MiB count after a restart: %v", err)
		}
		moved(0)
	}
	m.Close()
	o.Now = func() time.Time { return noon.Add(62 * time.Minute) }
	if _, err := meter(t, o).Take(t.Context(), 16*MiB); err != nil {
		t.Errorf("after an hour: %v", err)
	}
}

// TestDamaged counts what is not known as used up; what is no number as nothing.
func TestDamaged(t *testing.T) {
	o := limit.Options{Limit: limit.Limit{BytesPerHour: 16 * MiB}, File: filepath.Join(t.TempDir(), "uplink.json")}
	for content, open := range map[string]bool{
		"{": false, `{"minutes":[[1,-5],[2,9]],"ahead":-3}`: true, `{"ahead":9223372036854775807}`: false, `{}`: true,
		`{"minutes":[[9223372036854775807,9223372036854775807]],"ahead":1}`: true,
	} {
		if err := os.WriteFile(o.File, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := meter(t, o).Take(t.Context(), MiB); (err == nil) != open {
			t.Errorf("%s: %v", content, err)
		}
	}
}

func TestNoLimit(t *testing.T) {
	m := meter(t, limit.Options{})
	if m != nil || m.Shut() != nil {
		t.Error("something is limited")
	}
	moved, err := m.Take(t.Context(), 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	moved(1)
	m.Close()
}

// TestAwait waits for as long as it takes, and tells when something changes.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changes := 0
		m := meter(t, limit.Options{Limit: limit.Limit{BytesPerHour: 4 * MiB}, Now: time.Now, Changed: func() { changes++ }})
		begin := time.Now()
		for range 3 {
			moved, err := m.Await(t.Context(), 4*MiB)
			if err != nil {
				t.Fatal(err)
			}
			moved(4 * MiB)
		}
		if took := time.Since(begin); took < 2*time.Hour || took > 2*time.Hour+5*time.Minute {
			t.Errorf("it took %s", took)
		}
		if changes != 4 {
			t.Errorf("%d changes were told of", changes)
		}
		var shut *limit.Error
		if _, err := m.Take(t.Context(), MiB); !errors.As(err, &shut) || shut.Until.Before(time.Now()) {
			t.Errorf("it does not say that it is used up: %v", err)
		}
		if m.Shut() == nil {
			t.Error("it is not shut")
		}
	})
}

// TestNeverMoreAcrossPowerCuts moves bytes, cuts the power at any moment and goes on from the disk.
func TestNeverMoreAcrossPowerCuts(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(r *rapid.T) {
		per := rapid.Int64Range(limit.LeastHour, 12*MiB).Draw(r, "limit")
		now := noon
		runs++
		o := limit.Options{
			Of: "the uplink", Limit: limit.Limit{BytesPerHour: per}, File: filepath.Join(dir, fmt.Sprint(runs)),
			Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
		}
		m := limit.Open(o)
		type flight struct {
			gives func(int64)
			left  int64
			moved int64
		}
		var flying []*flight
		moved := map[time.Time]int64{}
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			now = now.Add(rapid.SampledFrom(steps[:4]).Draw(r, "later"))
			switch rapid.SampledFrom([]string{"take", "take", "take", "move", "move", "give", "give", "cut", "restart"}).Draw(r, "do") {
			case "take":
				n := rapid.SampledFrom(sizes).Draw(r, "bytes")
				if gives, err := m.Take(t.Context(), n); err == nil {
					flying = append(flying, &flight{gives: gives, left: n})
				}
			case "move":
				for _, f := range flying {
					n := f.left / rapid.SampledFrom([]int64{1, 1, 3}).Draw(r, "part")
					f.left, f.moved = f.left-n, f.moved+n
					moved[now] += n
				}
			case "give":
				if len(flying) > 0 {
					flying[0].gives(flying[0].moved)
					flying = flying[1:]
				}
			case "restart":
				for _, f := range flying {
					f.gives(f.moved)
				}
				m.Close()
				fallthrough
			case "cut":
				m, flying = limit.Open(o), nil
			}
			var sum int64
			for at, n := range moved {
				if now.Sub(at) <= time.Hour {
					sum += n
				}
			}
			if sum > per {
				r.Fatalf("%d bytes moved within an hour, the limit is %d", sum, per)
			}
		}
	})
}
