package origin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/waxwing-ota/waxwing/firmware"
)

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
