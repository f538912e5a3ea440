package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// TestSitesInBrowser looks at sites in a real browser, over a real server: none, a few, one of 500 devices, one whose
// devices accuse each other. e2e/sites.mjs tells what it does; it asks this test for the next scene when it is ready.
func TestSitesInBrowser(t *testing.T) {
	chromium := browser(t)
	w := newTown(t)
	var harbour []*citizen
	scenes := http.NewServeMux()
	scene := func(name string, play func(ctx context.Context, r *http.Request) error) {
		scenes.HandleFunc("POST /"+name, func(rw http.ResponseWriter, r *http.Request) {
			if err := play(r.Context(), r); err != nil {
				http.Error(rw, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	scene("begin", func(ctx context.Context, _ *http.Request) (err error) {
		harbour, err = w.begin(ctx)
		return err
	})
	// All devices of the harbour say at once how far they are.
	scene("advance", func(ctx context.Context, r *http.Request) error {
		percent, err := strconv.ParseInt(r.URL.Query().Get("percent"), 10, 64)
		if err != nil {
			return err
		}
		return each(harbour, func(i int, c *citizen) error {
			return c.says(ctx, func(r *protocol.Report) { harbourReport(r, i, percent) })
		})
	})
	stage := httptest.NewServer(scenes)
	t.Cleanup(stage.Close)

	drive := exec.CommandContext(t.Context(), "node", "e2e/sites.mjs", w.Operator, w.Token, stage.URL, t.ArtifactDir())
	drive.Env = append(os.Environ(), "CHROMIUM="+chromium)
	drive.Cancel = func() error { return drive.Process.Signal(os.Interrupt) }
	drive.WaitDelay = 10 * time.Second
	run(t, drive)
}

// begin settles three sites.
func (w *town) begin(ctx context.Context) (harbour []*citizen, err error) {
	err0 := w.publish("1.0.5", "1.1.0")
	harbour, err1 := w.settle("Oslo harbour", "quay", 24, 23)
	hall, err2 := w.settle("hall-9", "robot", 500, 460)
	alone, err3 := w.settle("", "kiosk", 2, 2)
	yard, err4 := w.settle("yard", "crane", 7, 7)
	if err := errors.Join(err0, err1, err2, err3, err4); err != nil {
		return nil, err
	}
	return harbour, errors.Join(
		each(harbour, func(i int, c *citizen) error {
			return c.says(ctx, func(r *protocol.Report) { harbourReport(r, i, 40) })
		}),
		each(hall, func(i int, c *citizen) error {
			return c.says(ctx, func(r *protocol.Report) { updates(r, int64(100-i%3)); trades(r, "robot", i, len(hall)) })
		}),
		each(yard, func(i int, c *citizen) error {
			return c.says(ctx, func(r *protocol.Report) { yardReport(r, i, len(yard)) })
		}),
		alone[0].says(ctx, func(*protocol.Report) {}),
		alone[1].says(ctx, func(r *protocol.Report) { r.Mesh = nil }),
	)
}

// harbourReport is what the i-th device of the harbour says. Some have troubles of their own.
func harbourReport(r *protocol.Report, i int, percent int64) {
	updates(r, percent)
	if trades(r, "quay", i, 24); i > 20 {
		r.Update.Sources = nil // older agents
	}
	wrong := protocol.Offence{Neighbor: "quay-009", Kind: protocol.OffenceWrongBytes, Count: 3, Last: time.Now().Add(-4 * time.Minute)}
	switch i {
	case 0:
		r.Isolated = []string{"quay-004", "quay-007"}
		r.Offences = []protocol.Offence{wrong}
	case 1:
		r.Mesh.Link, r.Offences = protocol.LinkWifi, []protocol.Offence{
			wrong, {Neighbor: "192.168.7.31", Kind: protocol.OffenceFlood, Count: 41_000, Last: time.Now().Add(-time.Hour)},
		}
	case 2:
		r.Offences = []protocol.Offence{wrong, {Neighbor: "quay-004", Kind: protocol.OffenceNoDeeds, Count: 2, Last: time.Now().Add(-2 * time.Hour)}}
	case 3:
		r.Mesh.Link, r.Isolated = protocol.LinkWifi, []string{"quay-001"}
	case 4:
		r.Mesh.Link, r.Mesh.Share = protocol.LinkCellular, false
	case 5:
		r.Mesh.Link = protocol.LinkBattery
	case 6:
		r.Mesh, r.Neighbors = nil, 0
		r.Update.Bytes.Origin, r.Update.Bytes.Peers = r.Update.Bytes.Origin+r.Update.Bytes.Peers, 0
		r.Update.Sources = []protocol.Source{{Why: protocol.WhyAlone, Chunks: percent * 9, Bytes: r.Update.Bytes.Origin}}
	case 7:
		r.Mesh.Link, r.Update = "", nil
	case 8:
		r.Update.Version, r.Update.Phase, r.Update.Reason = "1.0.5", protocol.Reverted, protocol.ReasonProbe
	}
}

// yardReport is what the i-th crane says: most have all from the first, one is late, one sees nobody.
func yardReport(r *protocol.Report, i, n int) {
	updates(r, 90)
	trades(r, "crane", i, n)
	u := r.Update
	switch i {
	case 0:
		u.Bytes.Origin, u.Bytes.Peers = u.Bytes.Peers, 0
		u.Sources = []protocol.Source{{Why: protocol.WhyOwnShare, Chunks: 700, Bytes: u.Bytes.Origin * 9 / 10}}
	case 3:
		u.Sources = append(u.Sources, protocol.Source{Why: protocol.WhySteppedIn, Chunks: 100, Bytes: 1_800_000}, protocol.Source{Why: protocol.WhyDidNotCome, Chunks: 900, Bytes: 900_000})
		u.Bytes.Origin += 2_700_000
	case 5:
		r.Neighbors, u.Bytes.Origin, u.Bytes.Peers = 0, u.Bytes.Peers, 0
		u.Sources = []protocol.Source{{Why: protocol.WhyAlone, Chunks: 800, Bytes: u.Bytes.Origin * 9 / 10}}
	default:
		u.Sources = []protocol.Source{
			{Why: protocol.WhyOwnShare, Chunks: 20, Bytes: u.Bytes.Origin / 2},
			{Device: "crane-001", Chunks: 600, Bytes: u.Bytes.Peers * 4 / 5},
			{Device: "crane-007", Chunks: 90, Bytes: u.Bytes.Peers / 5},
		}
	}
}

// trades fills in from whom the i-th of n devices had the bytes of its update.
func trades(r *protocol.Report, prefix string, i, n int) {
	b := &r.Update.Bytes
	r.Update.Sources = []protocol.Source{
		{Why: protocol.WhyOwnShare, Chunks: b.Origin / 16_000, Bytes: b.Origin * 3 / 4},
		{Why: protocol.WhyProbe, Chunks: 2, Bytes: b.Origin / 20},
		{Why: protocol.WhySteppedIn, Chunks: 3, Bytes: b.Origin / 25},
	}
	left := b.Peers
	seen := map[int]bool{i: true}
	for k, step := range []int{1, 3, 0, 7, 12, 2, 5} {
		from := (i + step) % n
		if k == 2 {
			from = i % 4 // some give more than others
		}
		if seen[from] {
			continue
		}
		seen[from] = true
		part := left * 2 / 5
		left -= part
		r.Update.Sources = append(r.Update.Sources, protocol.Source{Device: fmt.Sprintf("%s-%03d", prefix, from+1), Chunks: part / 30_000, Bytes: part})
	}
	r.Update.Sources = append(r.Update.Sources, protocol.Source{Why: protocol.WhyOthers, Chunks: left / 30_000, Bytes: left})
}

func each(all []*citizen, do func(i int, c *citizen) error) error {
	var g errgroup.Group
	g.SetLimit(16)
	for i, c := range all {
		g.Go(func() error { return do(i, c) })
	}
	return g.Wait()
}
