package fleet_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
)

func TestViews(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for i := range 9 {
		w.enroll(fmt.Sprintf("d-%d", i), map[string]string{"site": []string{"Oslo", "rome", "paris"}[i%3]})
	}
	w.Presence("d-4", true)
	if err := w.Ingest(ctx, "d-4", report(t, "d-4", 1, &protocol.Update{Phase: protocol.Failed}), ""); err != nil {
		t.Fatal(err)
	}
	ask := func(selector, search, after string, limit int) (ids []string, total int) {
		t.Helper()
		s, err := fleet.ParseSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		views, total, revision := w.Views(ctx, fleet.Query{Selector: s, Search: search, After: after, Limit: limit})
		if revision == 0 {
			t.Error("no revision")
		}
		for _, v := range views {
			ids = append(ids, v.ID)
		}
		return ids, total
	}
	for _, c := range []struct {
		selector, search, after string
		limit                   int
		want                    []string
		total                   int
	}{
		{"", "", "", 2, []string{"d-0", "d-1"}, 9},
		{"", "", "d-7", 5, []string{"d-8"}, 9},
		{"site=Oslo", "", "d-0", 0, []string{"d-3", "d-6"}, 3},
		{"", "oSL", "", 0, []string{"d-0", "d-3", "d-6"}, 3},
		{"", "d-5", "", 0, []string{"d-5"}, 1},
		{"online=true", "", "", 0, []string{"d-4"}, 1},
		{"online=false", "", "", 1, []string{"d-0"}, 8},
		{"phase=failed, product=gw, version=1.0.0, hardware=hw, admission=accepted, group=all", "", "", 0, []string{"d-4"}, 1},
		{"!product, phase=idle", "", "d-7", 0, []string{"d-8"}, 8},
		{"version!=1.0.0,id in (d-3,d-4)", "", "", 0, []string{"d-3"}, 1},
	} {
		if ids, total := ask(c.selector, c.search, c.after, c.limit); !slices.Equal(ids, c.want) || total != c.total {
			t.Errorf("%+v: %v of %d", c, ids, total)
		}
	}
}

// BenchmarkViews is a page of a hundred thousand devices, picked by a selector.
func BenchmarkViews(b *testing.B) {
	s := storetest.New(b)
	devices := store.NewCollection[fleet.Device](s, fleet.DevicesName)
	batch := store.NewBatch(s)
	for i := range 100_000 {
		id := fmt.Sprintf("d-%d", i)
		d := fleet.Device{ID: id, Hardware: "hw", Admission: fleet.Accepted, Labels: map[string]string{"site": fmt.Sprint(i % 100)}}
		if err := devices.PutIn(batch, id, d); err != nil {
			b.Fatal(err)
		}
	}
	if err := batch.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	f, err := fleet.New(b.Context(), fleet.Options{Store: s, Signer: signer{key}})
	if err != nil {
		b.Fatal(err)
	}
	loaded := time.Since(begin)
	selector, err := fleet.ParseSelector("site in (7, 8), phase=idle, online=false")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if items, total, _ := f.Views(b.Context(), fleet.Query{Selector: selector, Limit: 50}); len(items) != 50 || total != 2000 {
			b.Fatal(len(items), total)
		}
	}
	b.ReportMetric(loaded.Seconds(), "s/load")
}
