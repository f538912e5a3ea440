package agent

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waxwing-ota/waxwing/agent/limit"
	"github.com/waxwing-ota/waxwing/agent/origin"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

// limits are those of the configuration; without one the meter is nil.
type limits struct{ uplink, lan *limit.Meter }

func openLimits(a *Agent) limits {
	open := func(of, file string, l limit.Limit) *limit.Meter {
		return limit.Open(limit.Options{
			Of: of, Limit: l, File: filepath.Join(a.Config.Path(stateDir), file), Now: a.Now, Changed: a.look, Log: a.Log,
		})
	}
	return limits{
		uplink: open("the uplink", "uplink.json", a.Config.Limits.Uplink),
		lan:    open("the LAN", "lan.json", a.Config.Limits.LAN),
	}
}

func (l limits) close() {
	l.uplink.Close()
	l.lan.Close()
}

// shut is Sources.Shut.
func (l limits) shut() (uplink, lan bool) { return l.uplink.Shut() != nil, l.lan.Shut() != nil }

// closed is Sources.Closed.
func (l limits) closed() error {
	if e := l.lan.Shut(); e != nil {
		return e
	}
	return nil
}

// list is what a report says of them.
func (l limits) list() (out []protocol.Limit) {
	for _, m := range []struct {
		of    string
		holds *limit.Error
	}{{protocol.LimitUplink, l.uplink.Holds()}, {protocol.LimitLAN, l.lan.Holds()}} {
		if e := m.holds; e != nil {
			out = append(out, protocol.Limit{Of: m.of, Why: string(e.Why), Until: e.Until.UTC(), Detail: e.Error()})
		}
	}
	return out
}

// metered is files under the uplink's limit, when they are asked for the chunks of a swarm: by the mark of leased.
type metered struct {
	remote.Files
	take func(ctx context.Context, n int64) (moved func(int64), err error)
}

// limited returns files under this device's limit. While it is used up the mesh gets an error, and looks among neighbours; a
// device that talks to none waits.
func (a *Agent) limited(f remote.Files) remote.Files {
	uplink := a.limits.uplink
	if uplink == nil {
		return f
	}
	if _, is := a.neighbors.(alone); is {
		return metered{f, uplink.Await}
	}
	return metered{f, uplink.Take}
}

// Fetch implements remote.Files.
func (m metered) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	return m.ask(ctx, limit, func(ctx context.Context) ([]byte, error) { return m.Files.Fetch(ctx, path, limit) })
}

// Range implements remote.Files.
func (m metered) Range(ctx context.Context, path string, offset, n int64) ([]byte, error) {
	return m.ask(ctx, n, func(ctx context.Context) ([]byte, error) { return m.Files.Range(ctx, path, offset, n) })
}

func (m metered) ask(ctx context.Context, n int64, get func(context.Context) ([]byte, error)) ([]byte, error) {
	if marked, _ := ctx.Value(leasing{}).(bool); !marked {
		return get(ctx)
	}
	moved, err := m.take(ctx, n)
	if err != nil {
		return nil, err
	}
	line := new(atomic.Int64)
	defer func() { moved(line.Load()) }()
	return get(origin.Counting(ctx, line))
}

// fetchAgain is how soon neighbours are looked at again after they had nothing and the server could not be asked.
const fetchAgain = 5 * time.Second

// fetch gets chunks from neighbours and the origin. What only a limit of this device keeps from coming is waited for.
func (a *Agent) fetch(ctx context.Context, s Swarm, missing []firmware.Chunk, deliver func([]byte, firmware.ChunkID) error) error {
	if a.limits.uplink == nil {
		return a.neighbors.Fetch(ctx, s, missing, deliver)
	}
	var mu sync.Mutex
	came := map[firmware.ChunkID]bool{}
	note := func(plain []byte, id firmware.ChunkID) error {
		if err := deliver(plain, id); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		came[id] = true
		return nil
	}
	for {
		var left []firmware.Chunk
		mu.Lock()
		for _, c := range missing {
			if !came[c.ID] {
				left = append(left, c)
			}
		}
		mu.Unlock()
		if len(left) == 0 {
			return nil
		}
		err := a.neighbors.Fetch(ctx, s, left, note)
		var shut *limit.Error
		if !errors.As(err, &shut) || ctx.Err() != nil {
			return err
		}
		again := time.NewTimer(min(max(shut.Until.Sub(a.Now()), 0), fetchAgain))
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		}
	}
}

// limits says what is limited, and the time by which hours go: people write down those of their own zone.
func (d *doctor) limits(c *Config, now time.Time) {
	for _, x := range []struct {
		of string
		limit.Limit
	}{{"uplink", c.Limits.Uplink}, {"lan", c.Limits.LAN}} {
		if x.Zero() {
			continue
		}
		detail := x.Limit.String()
		if len(x.Hours) > 0 {
			detail += ", and it is " + now.UTC().Format("15:04") + " UTC"
		}
		if x.Open(now) {
			d.add(OK, "limits."+x.of, detail, "")
		} else {
			d.add(Warn, "limits."+x.of, detail, "nothing moves until "+x.Opens(now).Format("15:04 UTC")+"; hours are UTC, whatever the zone of this device")
		}
	}
}
