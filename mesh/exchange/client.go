package exchange

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Client asks neighbours.
type Client struct {
	self string
	http *http.Client
}

// NewClient returns a client of a device with this id.
func NewClient(self string, config *tls.Config) *Client {
	config = config.Clone()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	return &Client{self: self, http: &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: config, DisableCompression: true, MaxConnsPerHost: maxPerHost, MaxIdleConnsPerHost: maxPerHost,
			IdleConnTimeout: time.Minute, ResponseHeaderTimeout: pollTime + 5*time.Second, MaxResponseHeaderBytes: 8 << 10,
			TLSHandshakeTimeout: 5 * time.Second, DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close lets idle connections go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Hello returns the id of the device at an address; ErrSelf for this one. The other learns that this device answers at a
// port; 0 tells nothing.
func (c *Client) Hello(ctx context.Context, at netip.AddrPort, port int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := c.get(ctx, at, "hello?port="+strconv.Itoa(port), 0)
	if err != nil {
		return "", err
	}
	return deviceOf(r.state), nil
}

// State returns where a neighbour stands in a swarm, once it stands elsewhere than at a revision, or after a while. The
// error matches ErrNotTrading when it is not in that swarm.
func (c *Client) State(ctx context.Context, at netip.AddrPort, id firmware.Digest, revision uint64) (State, error) {
	r, err := c.get(ctx, at, "swarms/"+id.String()+"?rev="+strconv.FormatUint(revision, 10), maxState)
	if err != nil {
		return State{}, err
	}
	var s State
	if err := json.Unmarshal(r.body, &s); err != nil {
		return s, fmt.Errorf("state of %s: %w", at, err)
	}
	return s, nil
}

// Chunk returns a plain chunk of a known size, verified. The error matches firmware.ErrCorrupt when the bytes are wrong.
func (c *Client) Chunk(ctx context.Context, at netip.AddrPort, want firmware.Chunk) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, chunkTime)
	defer cancel()
	r, err := c.get(ctx, at, "chunks/"+want.ID.String(), int64(want.Size))
	if err != nil {
		return nil, err
	}
	if firmware.Sum(r.body) != want.ID {
		return nil, fmt.Errorf("chunk %s from %s: %w", want.ID, at, firmware.ErrCorrupt)
	}
	return r.body, nil
}

// Object returns small content with a digest, of at most limit bytes, verified. When the neighbour does not have it, the
// error is an [InterestError] if it will perhaps have it soon.
func (c *Client) Object(ctx context.Context, at netip.AddrPort, sum firmware.Digest, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, objectTime)
	defer cancel()
	r, err := c.get(ctx, at, "objects/"+sum.String(), limit)
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

type reply struct {
	body  []byte
	state *tls.ConnectionState
}

// get reads a whole answer of at most limit bytes; a longer one is corrupt.
func (c *Client) get(ctx context.Context, at netip.AddrPort, what string, limit int64) (reply, error) {
	host := strings.Replace(at.String(), "%", "%25", 1) // the zone of a link-local address, as a URL has it
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/mesh/v1/"+what, nil)
	if err != nil {
		return reply{}, err
	}
	r, err := c.http.Do(q)
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
