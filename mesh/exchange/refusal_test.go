package exchange_test

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/meshtest"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

type until time.Time

func (u until) Error() string    { return "used up" }
func (u until) Again() time.Time { return time.Time(u) }

// TestRefusals holds that a limit is told apart from an offence, with the time that it lasts, and what it does not hold back.
func TestRefusals(t *testing.T) {
	fleet := meshtest.NewFleet(t)
	var no, closed atomic.Pointer[error]
	var went atomic.Int64
	of := func(p *atomic.Pointer[error]) error {
		if e := p.Load(); e != nil {
			return *e
		}
		return nil
	}
	plain, object := []byte("a chunk"), []byte("an index")
	s := exchange.NewServer(exchange.Options{
		TLS:     exchange.TLS(always(fleet.Device(t, "it")), fleet.Pool),
		Objects: func(firmware.Digest) []byte { return object },
		Serve: func(context.Context, int64) (func(int64), error) {
			return func(n int64) { went.Add(n) }, of(&no)
		},
		Closed: func() error { return of(&closed) },
	})
	swarmID := firmware.Sum([]byte("index"))
	full := make(chan struct{})
	close(full)
	defer s.Trade(swarmID, exchange.NewBoard("it", 1, swarm.Pack{}), exchange.Goods{Chunks: slow{full, plain}})()
	l := listen(t)
	serve(t, s, l)
	at := netip.MustParseAddrPort(l.Addr().String())
	client := exchange.NewClient("us", exchange.TLS(always(fleet.Device(t, "us")), fleet.Pool))
	defer client.Close()
	chunk := func() error {
		_, err := client.Chunk(t.Context(), at, firmware.Chunk{ID: firmware.Sum(plain), Size: uint32(len(plain))})
		return err
	}
	state := func() error {
		_, err := client.State(t.Context(), at, swarmID, 0, exchange.Once)
		return err
	}
	if err := errors.Join(chunk(), state()); err != nil || went.Load() != int64(len(plain)) {
		t.Fatalf("%v; %d bytes are counted", err, went.Load())
	}
	for _, c := range []struct {
		says        error
		least, most time.Duration
	}{
		{until(time.Now().Add(10 * time.Minute)), 9 * time.Minute, 10 * time.Minute},
		{until(time.Now().Add(-time.Minute)), time.Second, time.Second},
		{until(time.Now().Add(1000 * time.Hour)), time.Hour, time.Hour},
		{errors.New("it does not say"), time.Second, time.Second},
	} {
		no.Store(&c.says)
		closed.Store(&c.says)
		for _, err := range []error{chunk(), state()} {
			var is *exchange.LimitError
			if !errors.As(err, &is) || is.After < c.least || is.After > c.most || !errors.Is(err, exchange.ErrBusy) || !errors.Is(err, exchange.ErrNotTrading) {
				t.Errorf("%v: %v", c.says, err)
			}
		}
	}
	if b, err := client.Object(t.Context(), at, firmware.Sum(object), 100); err != nil || string(b) != string(object) {
		t.Errorf("small content is held back: %v", err)
	}
	if _, err := client.Hello(t.Context(), at, 0); err != nil {
		t.Errorf("so is who it is: %v", err)
	}
	if went.Load() != int64(len(plain)) {
		t.Errorf("%d bytes are counted", went.Load())
	}
}
