// Package origin speaks HTTPS with the server's device plane: enrolment, renewal, documents, reports, time, and the files
// of the repository.
//
// Everything that comes back is bounded before it is read, redirects are refused, and a body that drips below a minimum
// rate is cut off: a server, or somebody between, can be slow or silent but never hold the device for long. Nothing read
// here is believed because of where it came from; signing/trust judges it.
//
// A [Client] is a trust.Fetcher and remote.Files, the repository that patches and chunks come from. It is safe for
// concurrent use. It opens at most four connections and closes them when they are idle.
package origin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// Errors that callers tell apart, beside trust.ErrNotFound for a missing file.
var (
	ErrRefused = errors.New("the server refused") // asking again will not help
	ErrSlow    = errors.New("the server is too slow")
)

// Patience of a client.
const (
	connectTimeout = 10 * time.Second
	headerTimeout  = 30 * time.Second
	idleTimeout    = 30 * time.Second
	maxHeader      = 16 << 10
	maxProblem     = 4 << 10
	defaultWindow  = 15 * time.Second
	defaultRate    = 1 << 10
)

// Options of a Client.
type Options struct {
	Server string        // https://host:port
	TLS    *tls.Config   // the device's certificate and the fleet's roots
	Rate   int64         // bytes a second that a body must reach in each window; default 1 KiB
	Window time.Duration // default 15 s
}

// Client talks to one server.
type Client struct {
	base      string
	http      *http.Client
	transport *http.Transport
	rate      int64
	window    time.Duration
	bytes     atomic.Int64
	reached   atomic.Bool

	mu   sync.Mutex
	etag string // of the newest documents
}

// New returns a client. It connects when it is first asked something.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q: give https://host:port", o.Server)
	}
	if o.Rate <= 0 {
		o.Rate = defaultRate
	}
	if o.Window <= 0 {
		o.Window = defaultWindow
	}
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSClientConfig:        o.TLS,
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxConnsPerHost:        4,
		MaxIdleConnsPerHost:    4,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,    // what is read is what was bounded
		ReadBufferSize:         4 << 10, // a device has little memory
		WriteBufferSize:        4 << 10,
	}
	return &Client{
		base: "https://" + u.Host, rate: o.Rate, window: o.Window, transport: transport,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close drops the idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Bytes returns how many bytes of the repository have come so far, counted while they come and whatever becomes of them.
func (c *Client) Bytes() int64 { return c.bytes.Load() }

// Reached reports whether the server has answered anything since the client was made.
func (c *Client) Reached() bool { return c.reached.Load() }

// Fetch implements trust.Fetcher and remote.Files.
func (c *Client) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	return c.fetch(ctx, path, limit, nil)
}

func (c *Client) fetch(ctx context.Context, path string, limit int64, lease *Lease) ([]byte, error) {
	b, _, err := c.do(ctx, request{method: http.MethodGet, path: protocol.PathRepo + path, limit: limit, count: &c.bytes, lease: lease})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Documents returns what the cloud wants of this device, or nil when nothing changed since it was last asked.
func (c *Client) Documents(ctx context.Context) (*protocol.Documents, error) {
	c.mu.Lock()
	etag := c.etag
	c.mu.Unlock()
	b, header, err := c.do(ctx, request{method: http.MethodGet, path: protocol.PathPolicy, etag: etag, limit: protocol.MaxDocument})
	if err != nil || header == nil { // not modified
		return nil, err
	}
	d := new(protocol.Documents)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	c.mu.Lock()
	c.etag = header.Get("ETag")
	c.mu.Unlock()
	return d, nil
}

// Forget makes the next Documents return everything again, because what it returned could not be used.
func (c *Client) Forget() {
	c.mu.Lock()
	c.etag = ""
	c.mu.Unlock()
}

// Report hands in an encoded protocol.Report. The server has stored it when the error is nil.
func (c *Client) Report(ctx context.Context, report []byte) error {
	_, _, err := c.do(ctx, request{method: http.MethodPost, path: protocol.PathReports, body: report, limit: maxProblem})
	return err
}

// Time returns the server's clock.
func (c *Client) Time(ctx context.Context) (time.Time, error) {
	var t protocol.Time
	err := c.ask(ctx, http.MethodGet, protocol.PathTime, nil, &t)
	return t.Now, err
}

// Renew asks for a new certificate for a key.
func (c *Client) Renew(ctx context.Context, csr []byte) (*protocol.RenewResponse, error) {
	r := new(protocol.RenewResponse)
	return r, c.ask(ctx, http.MethodPost, protocol.PathRenew, protocol.RenewRequest{CSR: csr}, r)
}

func (c *Client) ask(ctx context.Context, method, path string, question, answer any) error {
	r := request{method: method, path: path, limit: protocol.MaxDocument}
	if question != nil {
		var err error
		if r.body, err = json.Marshal(question); err != nil {
			return err
		}
	}
	b, _, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

type request struct {
	method, path string
	body         []byte
	etag         string
	limit        int64
	count        *atomic.Int64 // of the body's bytes, if not nil
	ranged       bool          // limit bytes from offset on are wanted
	offset       int64
	ifRange      string // of the file with this etag, if not empty
	lease        *Lease // nil: it takes no part
}

// do returns the body of a good answer; a nil header says that nothing changed. Of a body that breaks off it returns what came.
func (c *Client) do(ctx context.Context, q request) ([]byte, http.Header, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, q.method, c.base+q.path, bytes.NewReader(q.body))
	if err != nil {
		return nil, nil, err
	}
	if q.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if q.etag != "" {
		req.Header.Set("If-None-Match", q.etag)
	}
	if q.ranged {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", q.offset, q.offset+q.limit-1))
		if q.ifRange != "" {
			req.Header.Set("If-Range", q.ifRange)
		}
	}
	q.lease.put(req.Header)
	r, err := c.http.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("server: %w", err)
	}
	defer r.Body.Close()
	c.reached.Store(true)
	if err := q.lease.held(q.path, r); err != nil {
		return nil, nil, err
	}
	switch {
	case r.StatusCode == http.StatusNotModified && q.etag != "":
		return nil, nil, nil
	case q.ranged && r.StatusCode == http.StatusPartialContent:
		if err := checkRange(r, q.offset, q.limit); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", q.path, err)
		}
	case q.ranged && r.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return nil, nil, fmt.Errorf("%s: it ends before byte %d: %w", q.path, q.offset, firmware.ErrMalformed)
	case q.ranged && r.StatusCode == http.StatusOK && q.offset > 0:
		return nil, nil, fmt.Errorf("%s: %w", q.path, remote.ErrNoRange)
	case q.ranged && r.StatusCode == http.StatusOK: // the whole file, which is cut off
		r.Body = cut{io.LimitReader(r.Body, q.limit), r.Body}
		r.ContentLength = min(r.ContentLength, q.limit)
	case r.StatusCode == http.StatusOK, r.StatusCode == http.StatusNoContent, r.StatusCode == http.StatusCreated:
	default:
		return nil, nil, problem(q, r)
	}
	if r.ContentLength > q.limit {
		return nil, nil, fmt.Errorf("%s: %d bytes, over %d: %w", q.path, r.ContentLength, q.limit, firmware.ErrTooLarge)
	}
	body := io.Reader(r.Body)
	if q.count != nil {
		body = counted{body, q.count}
	}
	if n, ok := ctx.Value(counting{}).(*atomic.Int64); ok {
		body = counted{body, n}
	}
	watched := newPace(cancel, c.rate, c.window)
	defer watched.stop()
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err = b.ReadFrom(io.LimitReader(watched.reader(body), q.limit+1))
	// A body that is cut off can look as if it had ended.
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	switch {
	case err != nil:
		return b.Bytes(), r.Header, fmt.Errorf("%s: %w", q.path, err)
	case int64(b.Len()) > q.limit:
		return nil, nil, fmt.Errorf("%s: over %d bytes: %w", q.path, q.limit, firmware.ErrTooLarge)
	}
	return b.Bytes(), r.Header, nil
}

// problem turns an answer into an error: RFC 9457's detail is written for people.
func problem(q request, r *http.Response) error {
	said, _ := io.ReadAll(io.LimitReader(r.Body, maxProblem)) // the status alone is enough
	var p struct{ Title, Detail string }
	_ = json.Unmarshal(said, &p)
	text := strings.TrimSpace(p.Detail)
	if text == "" {
		text = p.Title
	}
	if text == "" {
		text = r.Status
	}
	switch {
	case r.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: %s: %w", q.path, text, trust.ErrNotFound)
	case r.StatusCode >= 300 && r.StatusCode < 400:
		return fmt.Errorf("%s: the server redirects to %q, which is not followed: %w", q.path, r.Header.Get("Location"), ErrRefused)
	case r.StatusCode >= 400 && r.StatusCode < 500 && r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusRequestTimeout:
		return fmt.Errorf("%w: %s (%d)", ErrRefused, text, r.StatusCode)
	}
	return fmt.Errorf("server: %s (%d)", text, r.StatusCode)
}
