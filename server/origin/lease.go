package origin

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/site"
)

// lease asks for a lease on what a device is about to fetch, if it takes part. It is nil for everybody else: for devices
// without the header, for caches before the server, for metadata and targets, and for ranges that no device asks for.
func (s *Server) lease(w http.ResponseWriter, r *http.Request, device, name string, size int64) (*site.Lease, error) {
	_, takesPart := r.Header[protocol.HeaderLease]
	bulk := strings.HasPrefix(name, "chunks/") || strings.HasPrefix(name, "patches/")
	if !takesPart || !bulk || device == "" || s.o.Sites == nil || r.Method != http.MethodGet {
		return nil, nil
	}
	first, last, ok := rangeOf(r.Header.Get("Range"), size)
	if !ok {
		return nil, nil
	}
	lease, err := s.o.Sites.Lease(device, site.Request{
		Path: name, First: first, Last: last, Isolated: protocol.ParseIsolated(r.Header.Get(protocol.HeaderIsolated)),
	})
	var held *site.HeldError
	if errors.As(err, &held) {
		w.Header().Set(protocol.HeaderHolder, s.o.Sites.Holder(held.Holder, device).String())
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(held.After.Seconds()))))
		s.o.Log.Debug("held by another device of the site", "device", device, "holder", held.Holder, "path", name,
			"epoch", r.Header.Get(protocol.HeaderLease))
	}
	return lease, err
}

// rangeOf returns the bytes that a request asks for: all of them, or one range with both ends.
func rangeOf(header string, size int64) (first, last int64, ok bool) {
	if header == "" {
		return 0, size - 1, size > 0
	}
	numbers, ok := strings.CutPrefix(header, "bytes=")
	from, to, ok2 := strings.Cut(numbers, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	return first, min(last, size-1), ok && ok2 && err1 == nil && err2 == nil && first >= 0 && first <= last && first < size
}
