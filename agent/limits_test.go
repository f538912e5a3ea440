package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/limit"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
)

// TestLimitsOfTheConfiguration holds what is refused, by the doctor too, and that others come back as they were.
func TestLimitsOfTheConfiguration(t *testing.T) {
	b := newBench(t, false)
	path := filepath.Join(b.dir, ConfigFile)
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	for limits, refused := range map[string]string{
		`{"uplink":{"bytes_per_hour":200000000,"hours":["22:00-06:00"]},"lan":{"bytes_per_second":1000000}}`: "",
		`{"uplink":{"bytes_per_hour":1000}}`:                    "limits.uplink: bytes_per_hour is 1000",
		`{"uplink":{"bytes_per_second":1000000}}`:               "limits.uplink.bytes_per_second",
		`{"lan":{"hours":["6-22"]}}`:                            "give a span",
		`{"lan":{"hours":["06:00-06:00"]}}`:                     "all day or never",
		`{"lan":{"bytes_per_second":-1}}`:                       "limits.lan: bytes_per_second is -1",
		`{"uplink":{"bytes_per_minute":200000000}}`:             "unknown field",
		`{"wifi":{"bytes_per_hour":200000000}}`:                 "unknown field",
		`{"uplink":{"hours":["22:00-06:00"],"hours":"always"}}`: "hours",
	} {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseConfig([]byte(strings.Replace(string(text), "{", `{"limits":`+limits+`,`, 1)))
		if (err == nil) != (refused == "") || err != nil && !strings.Contains(err.Error(), refused) {
			t.Errorf("%s: %v; want %q", limits, err, refused)
		}
	}
	c.Limits.Uplink.BytesPerHour = 7
	if err := c.Save(b.dir); err == nil {
		t.Error("nonsense is saved")
	}
	c.Limits.Uplink = limit.Limit{BytesPerHour: limit.LeastHour, Hours: []limit.Hours{{Start: 60, End: 30}}}
	if err := c.Save(b.dir); err != nil {
		t.Fatal(err)
	}
	again, err := LoadConfig(path)
	if err != nil || fmt.Sprint(again.Limits) != fmt.Sprint(c.Limits) {
		t.Errorf("%+v became %+v: %v", c.Limits, again.Limits, err)
	}
}

// TestLimitsAtTheDoctor says what is limited, by which clock, and refuses nonsense.
func TestLimitsAtTheDoctor(t *testing.T) {
	d := &doctor{}
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.FixedZone("far", 2*3600))
	c := &Config{Limits: Limits{
		Uplink: limit.Limit{BytesPerHour: 200e6, Hours: []limit.Hours{{Start: 22 * 60, End: 6 * 60}, {Start: 12 * 60, End: 13 * 60}}},
		LAN:    limit.Limit{BytesPerSecond: 1e6},
	}}
	d.limits(c, noon)
	want := []Finding{
		{
			Warn, "limits.uplink", "200 MB an hour, 22:00-06:00 and 12:00-13:00 UTC, and it is 10:00 UTC",
			"nothing moves until 12:00 UTC; hours are UTC, whatever the zone of this device",
		},
		{OK, "limits.lan", "1 MB a second", ""},
	}
	if diff := cmp.Diff(want, d.findings); diff != "" {
		t.Error(diff)
	}

	b := newBench(t, false)
	path := filepath.Join(b.dir, ConfigFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "{", `{"limits":{"uplink":{"bytes_per_hour":12}},`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Doctor(t.Context(), path); len(got) != 1 || got[0].Grade != Fail || !strings.Contains(got[0].Detail, "bytes_per_hour is 12") {
		t.Errorf("%+v", got)
	}
}

// closed returns hours that do not hold now nor soon.
func closed() []limit.Hours {
	minute := func(d time.Duration) int { at := time.Now().UTC().Add(d); return at.Hour()*60 + at.Minute() }
	return []limit.Hours{{Start: minute(6 * time.Hour), End: minute(7 * time.Hour)}}
}

// stingy is a neighbour that has nothing, until it has.
type stingy struct {
	Neighbors
	gives atomic.Bool
	asked atomic.Int32
	shut  func() (uplink, lan bool)
}

func (n *stingy) Fetch(ctx context.Context, s Swarm, missing []firmware.Chunk, deliver func([]byte, firmware.ChunkID) error) error {
	n.asked.Add(1)
	if !n.gives.Load() {
		_, err := s.Origin.Fetch(ctx, missing, deliver)
		if uplink, lan := n.shut(); err == nil || !uplink || lan {
			return fmt.Errorf("the uplink alone should be shut: %w", err)
		}
		return fmt.Errorf("origin: %w", err)
	}
	return nil
}

// TestOutsideItsHours holds that a device fetches no chunk from the server then, but everything else, and says so.
func TestOutsideItsHours(t *testing.T) {
	for _, mesh := range []bool{false, true} {
		t.Run(fmt.Sprintf("mesh %v", mesh), func(t *testing.T) {
			b := newBench(t, false)
			b.configure(func(c *Config) { c.Limits.Uplink.Hours = closed() })
			n := &stingy{Neighbors: Alone()}
			if mesh {
				b.near = func(s Sources) (Neighbors, error) { n.shut = s.Shut; return n, nil }
			}
			image := payload(7, 3<<20)
			b.cloud.Member("d-1", "all")
			b.cloud.Wish(b.cloud.Publish("1.0.0", 1, "qemu-arm64", image), nil)
			asked := b.asked()
			stop := b.start()
			r := b.cloud.Await("that its hours begin later", func(r protocol.Report) bool { return len(r.Limits) > 0 })
			if l := r.Limits[0]; l.Of != protocol.LimitUplink || l.Why != string(limit.Closed) || !strings.Contains(l.Detail, "the uplink's hours begin again at ") {
				t.Errorf("%+v", l)
			}
			if asked.count("chunks/", "") > 0 || asked.count("targets/", ".caibx") != 1 || asked.count("metadata/", "timestamp.json") == 0 {
				t.Errorf("it asked for %v", asked.paths)
			}
			stop()
			b.configure(func(c *Config) { c.Limits = Limits{} })
			b.near = nil
			b.start()
			b.cloud.Await("committed", reaches(protocol.Committed, "1.0.0"))
		})
	}
}

// TestNeighboursAgain asks neighbours again while the server cannot be asked, for what has not come.
func TestNeighboursAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var want []firmware.Chunk
		for i := range 3 {
			want = append(want, firmware.Chunk{ID: firmware.Sum([]byte{byte(i)}), Size: 1})
		}
		n := &slowly{want: want}
		a := &Agent{Options: Options{Now: time.Now}, neighbors: n}
		a.limits.uplink = limit.Open(limit.Options{Limit: limit.Limit{Hours: []limit.Hours{{Start: 1, End: 2}}}, Now: time.Now, File: filepath.Join(t.TempDir(), "x")})
		var came []firmware.ChunkID
		err := a.fetch(t.Context(), Swarm{}, want, func(_ []byte, id firmware.ChunkID) error { came = append(came, id); return nil })
		if err != nil || len(came) != 3 || n.rounds != 3 {
			t.Errorf("%v after %d rounds: %v", came, n.rounds, err)
		}
		n.rounds, n.fails = 0, errors.New("of another kind")
		if err := a.fetch(t.Context(), Swarm{}, want, func([]byte, firmware.ChunkID) error { return nil }); !errors.Is(err, n.fails) || n.rounds != 1 {
			t.Errorf("after %d rounds: %v", n.rounds, err)
		}
	})
}

// slowly is neighbours who give one chunk a round.
type slowly struct {
	Neighbors
	want   []firmware.Chunk
	rounds int
	fails  error
}

func (n *slowly) Fetch(_ context.Context, _ Swarm, missing []firmware.Chunk, deliver func([]byte, firmware.ChunkID) error) error {
	n.rounds++
	switch {
	case n.fails != nil:
		return n.fails
	case len(missing) != len(n.want)-n.rounds+1:
		return fmt.Errorf("%d chunks are asked for in round %d", len(missing), n.rounds)
	}
	if err := deliver(nil, missing[0].ID); err != nil || len(missing) == 1 {
		return err
	}
	return fmt.Errorf("origin: %w", &limit.Error{Of: "the uplink", Refusal: limit.Refusal{Why: limit.Closed, Until: time.Now().Add(time.Hour)}})
}

// TestTheHourIsUsedUp counts what moves, and goes on where neighbours have it.
func TestTheHourIsUsedUp(t *testing.T) {
	b := newBench(t, false)
	b.configure(func(c *Config) { c.Limits.Uplink.BytesPerHour = limit.LeastHour })
	b.near = func(Sources) (Neighbors, error) { return &greedy{Neighbors: Alone()}, nil }
	image := payload(8, 9<<20)
	b.cloud.Member("d-1", "all")
	b.cloud.Wish(b.cloud.Publish("1.0.0", 1, "qemu-arm64", image), nil)
	b.start()
	r := b.cloud.Await("that the hour is used up", func(r protocol.Report) bool {
		return len(r.Limits) > 0 && r.Limits[0].Why == string(limit.UsedUp) && r.Update != nil && r.Update.Bytes.Done > 0
	})
	if l := r.Limits[0]; !strings.Contains(l.Detail, "the uplink's limit of 4.1 MB an hour is used up until ") || r.Update.Bytes.Origin < limit.LeastHour/2 {
		t.Errorf("%+v after %d bytes", l, r.Update.Bytes.Origin)
	}
	// Metadata and index are not counted.
	if got := r.Update.Bytes.Origin; got > limit.LeastHour+100<<10 {
		t.Errorf("%d bytes came", got)
	}
}

// greedy asks the server for one chunk after the other.
type greedy struct{ Neighbors }

func (n *greedy) Fetch(ctx context.Context, s Swarm, missing []firmware.Chunk, deliver func([]byte, firmware.ChunkID) error) error {
	for _, c := range missing {
		if _, err := s.Origin.Fetch(ctx, []firmware.Chunk{c}, deliver); err != nil {
			return err
		}
	}
	return nil
}
