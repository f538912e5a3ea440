// Package frame bounds MQTT packets before anybody allocates for them.
//
// An MQTT packet begins with a type byte and a length of one to four bytes, so five bytes can announce 256 MB, and the
// paho client allocates what is announced before the first byte of it has come. [Limit] reads along on a connection,
// follows the packets, and ends it with [ErrTooLong] when a length exceeds the limit; the announcing bytes are not
// handed on.
//
//	options.SetCustomOpenConnectionFn(func(u *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
//		conn, err := tls.Dial("tcp", u.Host, config)
//		…
//		return frame.Limit(conn, protocol.MaxDocument+64<<10), nil
//	})
package frame

import (
	"errors"
	"fmt"
	"net"
)

// Errors of a limited connection.
var (
	ErrTooLong   = errors.New("the broker announced a packet that is too long")
	ErrMalformed = errors.New("the broker sent a length of more than four bytes")
)

// Limit returns a connection whose Read fails at the first MQTT packet that is longer than max bytes behind its header.
// Reads must come from one goroutine at a time, as they do in any MQTT client.
func Limit(conn net.Conn, max int) net.Conn { return &limited{Conn: conn, max: max} }

// limited follows the packets that pass by.
type limited struct {
	net.Conn
	max    int
	err    error // final
	body   int   // bytes of the packet at hand that are still to come
	header int   // bytes of its header that have passed: 0 none, 1 the type, 2.. lengths
	length int   // as far as read
}

// Read implements net.Conn.
func (l *limited) Read(b []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.Conn.Read(b)
	good, refused := l.follow(b[:n])
	if refused != nil {
		l.err = refused
		// What stands before the bad header is given out first; the error comes with the next Read.
		if good > 0 {
			return good, nil
		}
		return 0, refused
	}
	return n, err
}

// follow returns how many of the bytes belong to headers and bodies that may pass. Of a refused header nothing in b may.
func (l *limited) follow(b []byte) (good int, err error) {
	for i := 0; i < len(b); {
		if l.body > 0 {
			n := min(l.body, len(b)-i)
			l.body -= n
			i += n
			good = i
			continue
		}
		c := b[i]
		i++
		if l.header == 0 {
			l.header, l.length = 1, 0
			continue
		}
		l.length |= int(c&0x7f) << (7 * (l.header - 1))
		switch {
		case l.length > l.max:
			return good, fmt.Errorf("%w: over %d bytes", ErrTooLong, l.max)
		case c&0x80 == 0:
			l.body, l.header = l.length, 0
			good = i
		case l.header == 4:
			return good, ErrMalformed
		default:
			l.header++
		}
	}
	return len(b), nil
}
