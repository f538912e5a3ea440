package broker

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// handshakeTime is how long a client may take from connecting to its CONNECT packet. The broker lifts it after that.
const handshakeTime = 15 * time.Second

// acceptor is a listener of the broker. It differs from that of mochi in three ways: it survives errors of Accept, such
// as running out of file descriptors; whoever connects must get on with it; and at the end it closes connections that
// have not said anything yet.
type acceptor struct {
	net.Listener
	tls *tls.Config

	mu    sync.Mutex
	conns map[*conn]struct{} // nil: closed
}

type conn struct {
	*tls.Conn
	from *acceptor
}

func (c *conn) Close() error {
	c.from.mu.Lock()
	delete(c.from.conns, c)
	c.from.mu.Unlock()
	return c.Conn.Close()
}

func newAcceptor(l net.Listener, c *tls.Config) *acceptor {
	return &acceptor{Listener: l, tls: c, conns: map[*conn]struct{}{}}
}

// Accept implements net.Listener. The TLS handshake happens with the first Read, in the connection's own goroutine.
func (a *acceptor) Accept() (net.Conn, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		raw, err := a.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			<-time.After(wait) // until others have closed their connections
			continue
		}
		if err := raw.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
			_ = raw.Close()
			continue
		}
		c := &conn{Conn: tls.Server(raw, a.tls), from: a}
		a.mu.Lock()
		open := a.conns != nil
		if open {
			a.conns[c] = struct{}{}
		}
		a.mu.Unlock()
		if !open {
			_ = raw.Close()
			return nil, net.ErrClosed
		}
		return c, nil
	}
}

// closeAll ends the listener and all connections. The sockets are closed below TLS: a farewell to a client that does not
// read would wait for it.
func (a *acceptor) closeAll() {
	_ = a.Listener.Close()
	a.mu.Lock()
	conns := a.conns
	a.conns = nil
	a.mu.Unlock()
	for c := range conns {
		_ = c.NetConn().Close()
	}
}

// listener adapts an acceptor to mochi.
type listener struct{ *acceptor }

func (l listener) Init(*slog.Logger) error       { return nil }
func (l listener) ID() string                    { return "tls" }
func (l listener) Address() string               { return l.Addr().String() }
func (l listener) Protocol() string              { return "tcp" }
func (l listener) Close(close listeners.CloseFn) { close(l.ID()); l.closeAll() }
func (l listener) Serve(serve listeners.EstablishFn) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			// mochi returns why a connection ended, which is the client's business, and closes it.
			_ = serve(l.ID(), c)
		}()
	}
}
