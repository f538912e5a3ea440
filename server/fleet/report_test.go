package fleet_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/store"
)

func report(t testing.TB, device string, seq uint64, update *protocol.Update) []byte {
	t.Helper()
	b, err := json.Marshal(protocol.Report{
		Schema: 1, Device: device, Seq: seq, Time: time.Now(), Agent: "1.0", Hardware: "hw", Update: update,
		Running: protocol.Running{Slot: "a", Product: "gw", Version: "1.0.0", Counter: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReports(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.enroll("d-1", nil)
	feed := w.Subscribe()
	defer feed.Close()
	at := func(seq uint64, phase protocol.Phase) []byte {
		return report(t, "d-1", seq, &protocol.Update{Product: "gw", Version: "1.1.0", Phase: phase})
	}
	phase := func() protocol.Phase {
		v, err := w.View(ctx, "d-1")
		if err != nil {
			t.Fatal(err)
		}
		return v.State.Report.Update.Phase
	}
	states := store.NewCollection[fleet.State](w.store, fleet.StatesName)
	for _, c := range []struct {
		report []byte
		want   protocol.Phase
	}{
		{at(5, protocol.Downloading), protocol.Downloading},
		{at(4, protocol.Checking), protocol.Downloading},  // late
		{at(5, protocol.Rebooting), protocol.Downloading}, // doubled
		{at(7, protocol.Proving), protocol.Proving},
		{at(6, protocol.Rebooting), protocol.Proving},
	} {
		if err := w.Ingest(ctx, "d-1", c.report, "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		if got := phase(); got != c.want {
			t.Fatalf("%s, want %s", got, c.want)
		}
		if e, err := states.Get(ctx, "d-1"); err != nil || e.Value.Report.Update.Phase != c.want {
			t.Fatalf("stored %+v, %v", e, err)
		}
	}
	if ids, err := feed.Next(ctx); err != nil || !slices.Equal(ids, []string{"d-1"}) {
		t.Fatal(ids, err)
	}
	// A report that only says that time has passed costs no write, and still makes older ones stale.
	before, err := states.Get(ctx, "d-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{at(20, protocol.Proving), at(19, protocol.Rebooting)} {
		if err := w.Ingest(ctx, "d-1", b, ""); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := states.Get(ctx, "d-1"); err != nil || after.Revision != before.Revision {
		t.Fatal(after, err)
	}
	for name, b := range map[string][]byte{
		"another's": report(t, "d-2", 30, nil), "no JSON": []byte("{"), "long": make([]byte, fleet.MaxReport+1),
		"schema": []byte(`{"schema":2,"device":"d-1"}`),
	} {
		if err := w.Ingest(ctx, "d-1", b, ""); !errors.Is(err, fleet.ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Ingest(ctx, "nobody", report(t, "nobody", 1, nil), ""); !errors.Is(err, fleet.ErrUnknown) {
		t.Error(err)
	}
	w.restart()
	if got := phase(); got != protocol.Proving {
		t.Fatalf("%s after a restart", got)
	}
	if err := w.Ingest(ctx, "d-1", at(6, protocol.Failed), ""); err != nil || phase() != protocol.Proving {
		t.Fatalf("an old report after a restart: %v", err)
	}
	w.stop()
	if err := w.Ingest(ctx, "d-1", at(100, protocol.Committed), ""); !errors.Is(err, fleet.ErrEnded) {
		t.Fatalf("a report to an ended fleet: %v", err)
	}
	w.start()
}

func TestPresence(t *testing.T) {
	w := newWorld(t)
	w.enroll("d-1", nil)
	feed := w.SubscribePresence()
	defer feed.Close()
	online := func() fleet.Presence {
		v, err := w.View(t.Context(), "d-1")
		if err != nil {
			t.Fatal(err)
		}
		return v.Presence
	}
	if p := online(); p.Online || !p.LastSeen.IsZero() {
		t.Fatal(p)
	}
	w.Presence("d-1", true)
	if p := online(); !p.Online || p.LastSeen.IsZero() {
		t.Fatal(p)
	}
	if ids, err := feed.Next(t.Context()); err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	w.Presence("nobody", true)
	w.Presence("d-1", false)
	if p := online(); p.Online {
		t.Fatal(p)
	}
}

func BenchmarkIngest(b *testing.B) {
	s, closer, err := store.Open(b.Context(), store.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer closer.Close()
	devices := store.NewCollection[fleet.Device](s, fleet.DevicesName)
	const n = 2000
	batch := store.NewBatch(s)
	for i := range n {
		id := fmt.Sprintf("d-%d", i)
		if err := devices.PutIn(batch, id, fleet.Device{ID: id, Admission: fleet.Accepted}); err != nil {
			b.Fatal(err)
		}
	}
	if err := batch.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	f, err := fleet.New(b.Context(), fleet.Options{Store: s, Signer: signer{key}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var mu sync.Mutex
	seq := uint64(0)
	b.SetParallelism(500)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			mu.Lock()
			seq++
			i := seq
			mu.Unlock()
			id := fmt.Sprintf("d-%d", i%n)
			if err := f.Ingest(ctx, id, report(b, id, i, &protocol.Update{Policy: i}), ""); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
}
