package exchange

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// door is a listener that lets a few in at a time. One more may wait inside: for it, the connection goes that has idled for
// longest. So who takes chunks now and then does not keep out who asks where this device stands.
type door struct {
	net.Listener
	places chan struct{}
	shut   chan struct{} // closed by Close
	close  func() error

	mu   sync.Mutex
	idle map[net.Conn]time.Time // since when
}

const idleLeast = 20 * time.Millisecond // a connection idles before it has to go: who waits for news asks again at once

func newDoor(l net.Listener) *door {
	d := &door{Listener: l, places: make(chan struct{}, maxConnections-1), shut: make(chan struct{}), idle: map[net.Conn]time.Time{}}
	d.close = sync.OnceValue(func() error { close(d.shut); return l.Close() })
	return d
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	in := &placed{Conn: conn, leave: sync.OnceFunc(func() { <-d.places })}
	select {
	case d.places <- struct{}{}:
		return in, nil
	default:
	}
	look := time.NewTicker(idleLeast)
	defer look.Stop()
	for {
		d.dismiss()
		select {
		case d.places <- struct{}{}:
			return in, nil
		case <-look.C:
		case <-d.shut:
			_ = conn.Close() // nothing was said on it
			return nil, net.ErrClosed
		}
	}
}

// Close implements net.Listener.
func (d *door) Close() error { return d.close() }

// note is the server's ConnState.
func (d *door) note(conn net.Conn, now http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.idle, conn)
	if now == http.StateIdle {
		d.idle[conn] = time.Now()
	}
}

// dismiss closes the connection that has idled for longest, if any has for a moment.
func (d *door) dismiss() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var last net.Conn
	for conn, since := range d.idle {
		if time.Since(since) >= idleLeast && (last == nil || since.Before(d.idle[last])) {
			last = conn
		}
	}
	if last != nil {
		delete(d.idle, last)
		_ = last.Close() // its owner comes again
	}
}

// placed is a connection that gives its place back.
type placed struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
