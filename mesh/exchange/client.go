package exchange

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Client asks neighbours.
type Client struct {
	self      string
	news      *http.Client  // waits long, on connections that others do not push out
	bytes     *http.Client  // of everything else
	room      chan struct{} // a place for each connection
	strangers chan struct{} // a place for each greeting
}

// NewClient returns a client of a device with this id.
func NewClient(self string, config *tls.Config) *Client {
	config = config.Clone()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	c := &Client{self: self, room: make(chan struct{}, maxConnections), strangers: make(chan struct{}, maxStrangers)}
	make := func(answer time.Duration) *http.Client {
		return &http.Client{
			Transport: &http.Transport{
				TLSClientConfig: config, DisableCompression: true, MaxConnsPerHost: maxPerHost / 2, MaxIdleConnsPerHost: 1,
				IdleConnTimeout: idleTime, ResponseHeaderTimeout: answer, MaxResponseHeaderBytes: 8 << 10,
				TLSHandshakeTimeout: dialTime, DialContext: c.dial,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	c.news, c.bytes = make(pollTime+firstByte), make(firstByte)
	return c
}

// dial opens a connection when there is room for one; those that idle give way, but for those on which news comes.
func (c *Client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	select {
	case c.room <- struct{}{}:
	default:
		c.bytes.CloseIdleConnections()
		select {
		case c.room <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	conn, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, network, addr)
	if err != nil {
		<-c.room
		return nil, err
	}
	return &placed{Conn: conn, leave: sync.OnceFunc(func() { <-c.room })}, nil
}

// Close lets idle connections go.
func (c *Client) Close() {
	c.news.CloseIdleConnections()
	c.bytes.CloseIdleConnections()
}

// Hello returns the id of the device at an address; ErrSelf for this one. The other learns that this device answers at a
// port; 0 tells nothing. Greetings wait for each other, so that those who do not answer leave room for neighbours.
func (c *Client) Hello(ctx context.Context, at netip.AddrPort, port int) (string, error) {
	select {
	case c.strangers <- struct{}{}:
		defer func() { <-c.strangers }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := c.get(ctx, c.bytes, at, "hello?port="+strconv.Itoa(port), 0)
	if err != nil {
		return "", err
	}
	return deviceOf(r.state), nil
}

// How is how a state is asked for.
type How string

// Ways to ask for a state.
const (
	Once  How = ""          // as it is now
	First How = followFirst // again and again, as that of the next on the ring
	Other How = followOther // again and again
)

// State returns where a neighbour stands in a swarm, once it stands elsewhere than at a revision, or after a while. The
// error matches ErrNotTrading when it is not in that swarm, and ErrBusy when it cannot be followed.
func (c *Client) State(ctx context.Context, at netip.AddrPort, id firmware.Digest, revision uint64, how How) (State, error) {
	by, wait := c.news, pollTime+firstByte
	if revision == 0 { // nothing to wait for
		by, wait = c.bytes, dialTime+firstByte
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	r, err := c.get(ctx, by, at, "swarms/"+id.String()+"?rev="+strconv.FormatUint(revision, 10)+"&follow="+string(how), maxState)
	if err != nil {
		return State{}, err
	}
	s, err := parseState(r.body)
	if err != nil {
		return s, fmt.Errorf("state of %s: %w", at, err)
	}
	return s, nil
}

// Chunk returns a plain chunk of a known size, verified. The error matches firmware.ErrCorrupt when the bytes are wrong.
func (c *Client) Chunk(ctx context.Context, at netip.AddrPort, want firmware.Chunk) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*chunkTime(int(want.Size))) // the one before it may be on the line still
	defer cancel()
	r, err := c.get(ctx, c.bytes, at, "chunks/"+want.ID.String(), int64(want.Size))
	if err != nil {
		return nil, err
	}
	if firmware.Sum(r.body) != want.ID {
		return nil, fmt.Errorf("chunk %s from %s: %w", want.ID, at, firmware.ErrCorrupt)
	}
	return r.body, nil
}

// Patch returns a group of a pack, of at most size bytes, as the neighbour gives it: only what comes out of it can be
// verified. The error matches ErrNotTrading when it does not have it.
func (c *Client) Patch(ctx context.Context, at netip.AddrPort, id firmware.Digest, pack string, group int, size int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*chunkTime(int(size)))
	defer cancel()
	r, err := c.get(ctx, c.bytes, at, "swarms/"+id.String()+"/patches/"+pack+"/"+strconv.Itoa(group), size)
	return r.body, err
}

// chunkTime is how long a chunk of a size may take.
func chunkTime(size int) time.Duration {
	return firstByte + time.Duration(size)*time.Second/leastRate
}

// Object returns small content with a digest, of at most limit bytes, verified. When the neighbour does not have it, the
// error is an [InterestError] if it will perhaps have it soon.
func (c *Client) Object(ctx context.Context, at netip.AddrPort, sum firmware.Digest, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, objectTime)
	defer cancel()
	r, err := c.get(ctx, c.bytes, at, "objects/"+sum.String(), limit)
	if err != nil {
		return nil, err
	}
	if firmware.Sum(r.body) != sum {
		return nil, fmt.Errorf("object %s from %s: %w", sum, at, firmware.ErrCorrupt)
	}
	return r.body, nil
}

// InterestError says that a neighbour lacks an object and is about to get it.
type InterestError struct {
	At       netip.AddrPort
	Interest Interest
}

// Error implements error.
func (e *InterestError) Error() string {
	return fmt.Sprintf("neighbour %s is %s it too", e.At, e.Interest)
}

// LimitError says that a neighbour gives nothing for a while, because of a limit of its own. It is no offence: it matches
// ErrBusy, and ErrNotTrading as it is then as if the neighbour had nothing.
type LimitError struct {
	At    netip.AddrPort
	After time.Duration // as it says
}

// Error implements error.
func (e *LimitError) Error() string {
	return fmt.Sprintf("neighbour %s gives nothing for %s: its limit is used up", e.At, e.After)
}

// Is implements what errors.Is asks.
func (e *LimitError) Is(target error) bool { return target == ErrBusy || target == ErrNotTrading }

type reply struct {
	body  []byte
	state *tls.ConnectionState
}

// get reads a whole answer of at most limit bytes; a longer one is corrupt.
func (c *Client) get(ctx context.Context, by *http.Client, at netip.AddrPort, what string, limit int64) (reply, error) {
	host := strings.Replace(at.String(), "%", "%25", 1) // the zone of a link-local address, as a URL has it
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/mesh/v1/"+what, nil)
	if err != nil {
		return reply{}, err
	}
	r, err := by.Do(q)
	if err != nil {
		return reply{}, fmt.Errorf("neighbour %s: %w", at, err)
	}
	defer r.Body.Close()
	if deviceOf(r.TLS) == c.self {
		return reply{}, ErrSelf
	}
	if r.StatusCode == http.StatusNotFound {
		return reply{}, fmt.Errorf("neighbour %s: %w", at, ErrNotTrading)
	}
	if seconds, err := strconv.ParseUint(r.Header.Get("Retry-After"), 10, 24); err == nil && r.StatusCode == http.StatusTooManyRequests {
		return reply{}, &LimitError{At: at, After: min(time.Duration(seconds)*time.Second, longestAfter)}
	}
	if r.StatusCode == http.StatusTooManyRequests {
		return reply{}, fmt.Errorf("neighbour %s: %w", at, ErrBusy)
	}
	if i := Interest(r.Header.Get(interestHeader)); r.StatusCode == http.StatusServiceUnavailable && (i == Seeking || i == Fetching) {
		return reply{}, &InterestError{At: at, Interest: i}
	}
	if r.StatusCode/100 != 2 {
		return reply{}, fmt.Errorf("neighbour %s answers %s", at, r.Status)
	}
	if r.ContentLength > limit {
		return reply{}, fmt.Errorf("neighbour %s sends %d bytes, over %d: %w", at, r.ContentLength, limit, firmware.ErrCorrupt)
	}
	body := make([]byte, 0, max(r.ContentLength, 0)+bytes.MinRead) // what is announced needs no growing
	buffer := bytes.NewBuffer(body)
	if _, err := buffer.ReadFrom(io.LimitReader(r.Body, limit+1)); err != nil {
		return reply{}, fmt.Errorf("neighbour %s: %w", at, err)
	}
	if int64(buffer.Len()) > limit {
		return reply{}, fmt.Errorf("neighbour %s sends more than %d bytes: %w", at, limit, firmware.ErrCorrupt)
	}
	return reply{body: buffer.Bytes(), state: r.TLS}, nil
}
