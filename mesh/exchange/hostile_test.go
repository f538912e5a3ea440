package exchange_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/meshtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func always(c tls.Certificate) func() tls.Certificate { return func() tls.Certificate { return c } }

// request is something that is asked of neighbours, and what a good one gives.
type request struct {
	name   string
	right  []byte
	limit  int  // bytes
	proven bool // what is wrong is known as such
	ask    func(ctx context.Context, c *exchange.Client, at netip.AddrPort) (got []byte, err error)
}

func requests(t *testing.T) []request {
	t.Helper()
	right := bytes.Repeat([]byte("waxwing "), 4<<10)
	id := firmware.Sum(right)
	state, err := json.Marshal(exchange.State{Revision: 5, Chunks: 80_000, Have: make([]byte, 10_000)})
	if err != nil {
		t.Fatal(err)
	}
	return []request{
		{name: "chunk", right: right, limit: len(right), proven: true, ask: func(ctx context.Context, c *exchange.Client, at netip.AddrPort) ([]byte, error) {
			return c.Chunk(ctx, at, firmware.Chunk{ID: id, Size: uint32(len(right))})
		}},
		{name: "object", right: right, limit: len(right), proven: true, ask: func(ctx context.Context, c *exchange.Client, at netip.AddrPort) ([]byte, error) {
			return c.Object(ctx, at, id, int64(len(right)))
		}},
		{name: "patch", right: right, limit: len(right), ask: func(ctx context.Context, c *exchange.Client, at netip.AddrPort) ([]byte, error) {
			return c.Patch(ctx, at, id, "p", 3, int64(len(right)))
		}},
		{name: "state", right: state, limit: 1 << 20, ask: func(ctx context.Context, c *exchange.Client, at netip.AddrPort) ([]byte, error) {
			s, err := c.State(ctx, at, id, 0, exchange.Once)
			b, _ := json.Marshal(s)
			return b, err
		}},
		{name: "hello", right: []byte("x"), limit: 64, ask: func(ctx context.Context, c *exchange.Client, at netip.AddrPort) ([]byte, error) {
			id, err := c.Hello(ctx, at, 1)
			return []byte(id), err
		}},
	}
}

// outcome is what came of a request.
type outcome struct {
	got       []byte
	err       error
	allocated int
	endless   bool
}

// TestHostileAnswers asks a neighbour with every vice for everything. Nothing wrong is taken, memory and time are bounded, and
// what is proof is known as such.
func TestHostileAnswers(t *testing.T) {
	fleet := meshtest.NewFleet(t)
	ours := exchange.TLS(always(fleet.Device(t, "us")), fleet.Pool)
	theirs := exchange.TLS(always(fleet.Device(t, "crook")), fleet.Pool)
	type row struct {
		v     meshtest.Vice
		r     request
		crook *meshtest.Crook
		came  chan outcome
	}
	var rows []row
	for _, slow := range []bool{false, true} { // apart, so that what the fast ones take can be measured
		for _, v := range meshtest.Vices() {
			for _, r := range requests(t) {
				if v.Slow != slow {
					continue
				}
				answer := func(c net.Conn, _ *http.Request) bool { return v.Answer(c, r.right) }
				if v.Deaf {
					answer = nil
				}
				row := row{v, r, meshtest.NewCrook(t, theirs, answer), make(chan outcome, 1)}
				rows = append(rows, row)
				ask := func() {
					client := exchange.NewClient("us", ours)
					defer client.Close()
					ctx, stop := context.WithTimeout(t.Context(), 20*time.Second) // the client's own limits are all shorter
					defer stop()
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					got, err := r.ask(ctx, client, row.crook.At)
					runtime.ReadMemStats(&after)
					row.came <- outcome{got, err, int(after.TotalAlloc - before.TotalAlloc), ctx.Err() != nil}
				}
				if slow { // they mostly wait
					go ask()
				} else {
					ask()
				}
			}
		}
	}
	for _, row := range rows {
		v, r := row.v, row.r
		t.Run(v.Name+"/"+r.name, func(t *testing.T) {
			o := <-row.came
			if o.endless {
				t.Error("it waits without end:", o.err)
			}
			if wrong := errors.Is(o.err, firmware.ErrCorrupt); r.proven && (o.err == nil || wrong != v.Provable) {
				t.Errorf("it takes %d bytes, proof: %v, %v", len(o.got), wrong, o.err)
			}
			var late net.Error
			if r.proven && v.Slow && !(errors.As(o.err, &late) && late.Timeout()) {
				t.Error("it is not known to be slow:", o.err)
			}
			if !v.Slow && o.allocated > 16*r.limit+(4<<20) || len(o.got) > r.limit {
				t.Errorf("%d bytes were allocated for %d of at most %d", o.allocated, len(o.got), r.limit)
			}
			if sent := row.crook.Sent(); sent > int64(r.limit)+(16<<20) { // most of it lies in the kernel's buffers
				t.Errorf("%d bytes were sent", sent)
			}
		})
	}
}
