package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

// resumes is how often a range that breaks off is gone on with; the pauses before, doubled each time, let a server start
// again.
const (
	resumes    = 5
	firstPause = 500 * time.Millisecond
)

// Range implements remote.Files. Of a server that sends the whole file instead, the beginning is taken if it was asked for,
// and nothing else is read. A range that breaks off is gone on with, as it is long for a slow line and of no use in part.
func (c *Client) Range(ctx context.Context, path string, offset, n int64) ([]byte, error) {
	return c.read(ctx, path, offset, n, nil)
}

func (c *Client) read(ctx context.Context, path string, offset, n int64, lease *Lease) ([]byte, error) {
	if offset < 0 || n <= 0 || offset > math.MaxInt64-n {
		return nil, fmt.Errorf("%s: no range of %d bytes at %d", path, n, offset)
	}
	q := request{method: http.MethodGet, path: protocol.PathRepo + path, limit: n, count: &c.bytes, ranged: true, offset: offset, lease: lease}
	var got []byte
	pause := firstPause
	for i := 0; ; i++ {
		b, header, err := c.do(ctx, q)
		if got = append(got, b...); err == nil {
			return got, nil
		}
		if i == resumes || ctx.Err() != nil || len(got) == 0 || !breaks(err) {
			return nil, err
		}
		if etag := header.Get("ETag"); etag != "" {
			q.ifRange = etag
		}
		q.offset, q.limit = offset+int64(len(got)), n-int64(len(got))
		q.lease = nil     // what has begun is its own
		if q.limit == 0 { // the end came, and the break after it
			return got, nil
		}
		wait := time.NewTimer(pause)
		pause *= 2
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, ctx.Err()
		case <-wait.C:
		}
	}
}

// breaks reports whether an error may pass: it is the line's or the server's, not the file's.
func breaks(err error) bool {
	for _, final := range []error{firmware.ErrMalformed, firmware.ErrTooLarge, fs.ErrNotExist, ErrRefused, remote.ErrNoRange, remote.ErrHeld} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// checkRange holds that a partial answer is the part that was asked for, or what there is of it before the file ends.
// Multipart answers are refused: one range was asked for.
func checkRange(r *http.Response, offset, n int64) error {
	first, last, total, err := parseRange(r.Header.Get("Content-Range"))
	switch {
	case err != nil:
		return err
	case first != offset, last > offset+n-1, last < offset+n-1 && last != total-1,
		r.ContentLength >= 0 && r.ContentLength != last-first+1:
		return fmt.Errorf("the server sent %d bytes of %q where %d at %d were asked for: %w",
			r.ContentLength, r.Header.Get("Content-Range"), n, offset, firmware.ErrMalformed)
	}
	return nil
}

// parseRange reads "bytes 0-9/100"; a total that is not told is that of a file which ends with the range.
func parseRange(s string) (first, last, total int64, err error) {
	numbers, ok := strings.CutPrefix(s, "bytes ")
	part, whole, ok2 := strings.Cut(numbers, "/")
	from, to, ok3 := strings.Cut(part, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	total = last + 1
	var err3 error
	if whole != "*" {
		total, err3 = strconv.ParseInt(whole, 10, 64)
	}
	if err := errors.Join(err1, err2, err3); err != nil || !ok || !ok2 || !ok3 || first < 0 || last < first || total <= last {
		return 0, 0, 0, fmt.Errorf("content range %.80q: %w", s, firmware.ErrMalformed)
	}
	return first, last, total, nil
}

// cut is the beginning of a body.
type cut struct {
	io.Reader
	io.Closer
}

// counting marks a context under which bytes are counted.
type counting struct{}

// Counting returns a context under which the bytes of bodies are counted in n too, while they come and whatever becomes of
// them.
func Counting(ctx context.Context, n *atomic.Int64) context.Context {
	return context.WithValue(ctx, counting{}, n)
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

// Read implements io.Reader.
func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}
