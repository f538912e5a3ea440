package meshtest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Vice is a way to answer a request for something that it should not be answered in.
type Vice struct {
	Name string
	// Provable says that who asked can prove that the answer is wrong, whatever the network did.
	Provable bool
	// Slow says that only time tells.
	Slow bool
	// Deaf does not even say who it is.
	Deaf bool
	// Answer writes to a connection instead of what is right, and reports whether the connection goes on.
	Answer func(c net.Conn, right []byte) bool
}

// Vices are all that tests of neighbours know.
func Vices() []Vice {
	return []Vice{
		{Name: "wrong bytes", Provable: true, Answer: func(c net.Conn, right []byte) bool {
			return say(c, ok(len(right)), spoilt(right))
		}},
		{Name: "more than was asked for", Provable: true, Answer: func(c net.Conn, right []byte) bool {
			return say(c, ok(len(right)+(2<<20)), right) && repeat(c, 128, junk())
		}},
		{Name: "a length that no memory has", Provable: true, Answer: func(c net.Conn, right []byte) bool {
			return say(c, ok(1<<60), right) && wait(c)
		}},
		{Name: "a length that is too short", Provable: true, Answer: func(c net.Conn, right []byte) bool {
			return say(c, ok(len(right)/2), right)
		}},
		{Name: "a length that is too long", Answer: func(c net.Conn, right []byte) bool {
			say(c, ok(len(right)), right[:len(right)/2])
			return false
		}},
		{Name: "a body without end", Provable: true, Answer: func(c net.Conn, right []byte) bool {
			say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(right))
			return endless(c, chunked(junk()))
		}},
		{Name: "a body without end or length", Provable: true, Answer: func(c net.Conn, right []byte) bool {
			say(c, "HTTP/1.0 200 OK\r\n\r\n", right)
			return endless(c, junk())
		}},
		{Name: "a bomb", Provable: true, Answer: func(c net.Conn, right []byte) bool {
			return say(c, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", len(right)), spoilt(right))
		}},
		{Name: "headers without end", Answer: func(c net.Conn, _ []byte) bool {
			say(c, "HTTP/1.1 200 OK\r\n")
			return endless(c, bytes.Repeat([]byte("X-More: and more and more\r\n"), 1000))
		}},
		{Name: "a header without end", Answer: func(c net.Conn, _ []byte) bool {
			say(c, "HTTP/1.1 200 OK\r\nX-More: ")
			return endless(c, junk())
		}},
		{Name: "hints without end", Answer: func(c net.Conn, _ []byte) bool {
			return endless(c, bytes.Repeat([]byte("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), 1000))
		}},
		{Name: "trailers without end", Answer: func(c net.Conn, right []byte) bool {
			say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-More\r\n\r\n", chunked(right), []byte("0\r\n"))
			return endless(c, bytes.Repeat([]byte("X-More: and more and more\r\n"), 1000))
		}},
		{Name: "a frame of a body without end", Answer: func(c net.Conn, _ []byte) bool {
			say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
			return endless(c, junk())
		}},
		{Name: "no HTTP", Answer: func(c net.Conn, _ []byte) bool { return endless(c, junk()) }},
		{Name: "another protocol", Answer: func(c net.Conn, right []byte) bool {
			return say(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", right) && wait(c)
		}},
		{Name: "nothing at all, with thanks", Provable: true, Answer: func(c net.Conn, _ []byte) bool { return say(c, "HTTP/1.1 204 No Content\r\n\r\n") }},
		{Name: "trouble", Answer: func(c net.Conn, _ []byte) bool {
			return say(c, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
		}},
		{Name: "hanging up", Answer: func(net.Conn, []byte) bool { return false }},
		{Name: "a header of 10 bytes a second", Slow: true, Answer: func(c net.Conn, right []byte) bool {
			return drip(c, append([]byte(ok(len(right))), right...))
		}},
		{Name: "a body of 10 bytes a second", Slow: true, Answer: func(c net.Conn, right []byte) bool {
			return say(c, ok(len(right))) && drip(c, right)
		}},
		{Name: "silence", Slow: true, Answer: func(c net.Conn, _ []byte) bool { return wait(c) }},
		{Name: "silence from the first", Slow: true, Deaf: true},
	}
}

// Crook is a device of a fleet that does as it likes.
type Crook struct {
	At   netip.AddrPort
	sent atomic.Int64
	open atomic.Int64
}

// Sent returns how many bytes it got rid of.
func (c *Crook) Sent() int64 { return c.sent.Load() }

// Open returns how many connections it has.
func (c *Crook) Open() int64 { return c.open.Load() }

// NewCrook listens until the test ends. answer writes what comes after a request and reports whether the connection goes on;
// nil: it accepts connections and says nothing.
func NewCrook(t testing.TB, config *tls.Config, answer func(c net.Conn, r *http.Request) bool) *Crook {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	crook := &Crook{At: l.Addr().(*net.TCPAddr).AddrPort()}
	config = config.Clone()
	config.NextProtos = []string{"http/1.1"}
	var mu sync.Mutex
	var all []net.Conn
	var ended sync.WaitGroup
	ended.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			ended.Go(func() {
				crook.open.Add(1)
				defer crook.open.Add(-1)
				defer c.Close()
				if answer == nil {
					wait(c)
					return
				}
				s := tls.Server(c, config)
				out, in := &counted{s, &crook.sent}, bufio.NewReader(s)
				for {
					r, err := http.ReadRequest(in)
					if err != nil || !answer(out, r) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range all {
			_ = c.Close()
		}
		mu.Unlock()
		ended.Wait()
	})
	return crook
}

// Reply writes an honest answer.
func Reply(c net.Conn, status int, body []byte) bool {
	if status == http.StatusNoContent {
		return say(c, "HTTP/1.1 204 No Content\r\n\r\n")
	}
	return say(c, fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n", status, http.StatusText(status), len(body)), body)
}

type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func junk() []byte { return bytes.Repeat([]byte{'x'}, 16<<10) }

func ok(n int) string { return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n) }

func spoilt(right []byte) []byte {
	b := bytes.Clone(right)
	b[len(b)/2]++
	return b
}

func chunked(b []byte) []byte { return fmt.Appendf(nil, "%x\r\n%s\r\n", len(b), b) }

// say reports whether all was taken.
func say(c io.Writer, head string, rest ...[]byte) bool {
	for _, b := range append([][]byte{[]byte(head)}, rest...) {
		if _, err := c.Write(b); err != nil {
			return false
		}
	}
	return true
}

// repeat says something so many times, and endless until nobody listens.
func repeat(c io.Writer, times int, b []byte) bool {
	for range times {
		if _, err := c.Write(b); err != nil {
			return false
		}
	}
	return true
}

func endless(c io.Writer, b []byte) bool { return repeat(c, math.MaxInt, b) }

// drip says a byte ten times a second.
func drip(c io.Writer, b []byte) bool {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ; len(b) > 0; b = b[1:] {
		if _, err := c.Write(b[:1]); err != nil {
			return false
		}
		<-tick.C
	}
	return true
}

// wait waits until the other hangs up.
func wait(c io.Reader) bool {
	_, _ = io.Copy(io.Discard, c)
	return false
}
