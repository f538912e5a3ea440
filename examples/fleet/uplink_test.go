package fleet

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// uplink is the one slow line of a site to the server: a TCP relay with a rate, which counts what crosses it. What
// devices report of themselves is lost when they are killed; what the line counted is not.
type uplink struct {
	listener net.Listener
	ctx      context.Context //nolint:containedctx // the relay's life is the test's
	work     sync.WaitGroup
	server   atomic.Pointer[string] // host:port
	down     atomic.Int64           // bytes from the server to the devices

	mu   sync.Mutex
	rate int64     // bytes a second
	free time.Time // when the line can carry more
	live map[net.Conn]bool
}

func newUplink(t *testing.T, rate int64) *uplink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	u := &uplink{listener: l, ctx: ctx, rate: rate, live: map[net.Conn]bool{}}
	u.work.Go(u.accept)
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		u.work.Wait()
	})
	return u
}

// slow changes the rate from now on.
func (u *uplink) slow(rate int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.rate = rate
}

// cut breaks every connection off, with what is on its way.
func (u *uplink) cut() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.live {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// lives notes a connection that cut may break off.
func (u *uplink) lives(c net.Conn, yes bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if delete(u.live, c); yes {
		u.live[c] = true
	}
}

// route is Options.Route.
func (u *uplink) route(server string) (string, error) {
	_, at, _ := strings.Cut(server, "://")
	u.server.Store(&at)
	return "https://" + u.listener.Addr().String(), nil
}

func (u *uplink) accept() {
	for {
		c, err := u.listener.Accept()
		if err != nil {
			return
		}
		u.work.Go(func() { u.relay(c) })
	}
}

// relay carries one connection until either end is gone; without a server it is refused.
func (u *uplink) relay(device net.Conn) {
	defer device.Close()
	server, err := new(net.Dialer).DialContext(u.ctx, "tcp", *u.server.Load())
	if err != nil {
		return
	}
	defer server.Close()
	u.lives(device, true)
	u.lives(server, true)
	defer u.lives(device, false)
	defer u.lives(server, false)
	over := context.AfterFunc(u.ctx, func() { _ = device.Close(); _ = server.Close() })
	defer over()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(server, device); _ = server.Close(); _ = device.Close() })
	both.Go(func() { _, _ = io.Copy(device, paced{server, u}); _ = server.Close(); _ = device.Close() })
	both.Wait()
}

// paced reads as fast as the line carries, all its connections together.
type paced struct {
	io.Reader
	u *uplink
}

func (p paced) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b[:min(len(b), 8<<10)])
	p.u.down.Add(int64(n))
	p.u.mu.Lock()
	now := time.Now()
	if p.u.free.Before(now) {
		p.u.free = now
	}
	p.u.free = p.u.free.Add(time.Duration(int64(n) * int64(time.Second) / p.u.rate))
	wait := time.NewTimer(p.u.free.Sub(now))
	p.u.mu.Unlock()
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-p.u.ctx.Done():
	}
	return n, err
}
