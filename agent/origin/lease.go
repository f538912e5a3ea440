package origin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

// longestAfter bounds how long a server may ask to be left alone.
const longestAfter = time.Minute

// Lease is what a device says with its requests when it takes part in the leases of its site; see protocol.HeaderLease.
type Lease struct {
	Epoch    string   // of the list of neighbours that it was told; may be empty
	Isolated []string // holders that it cannot reach
}

// HeldError says that the server does not give what another device of the site has or is fetching. It matches
// remote.ErrHeld.
type HeldError struct {
	protocol.Holder
	Path  string
	After time.Duration // when the server wants to be asked again; 0: it does not say
}

// Error implements error.
func (e *HeldError) Error() string {
	return fmt.Sprintf("%s: device %s of this site has it", e.Path, e.Device)
}

// Is implements what errors.Is asks.
func (e *HeldError) Is(target error) bool { return target == remote.ErrHeld }

// Leased is the repository as a device of a site gets it. It implements remote.Files; an error may be a [HeldError]. Of a
// server that knows nothing of leases it gets what the [Client] gets.
type Leased struct {
	client *Client
	lease  Lease
}

// Leased returns the repository under a lease.
func (c *Client) Leased(l Lease) Leased { return Leased{c, l} }

// Fetch implements remote.Files.
func (l Leased) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	return l.client.fetch(ctx, path, limit, &l.lease)
}

// Range implements remote.Files.
func (l Leased) Range(ctx context.Context, path string, offset, n int64) ([]byte, error) {
	return l.client.read(ctx, path, offset, n, &l.lease)
}

func (l *Lease) put(h http.Header) {
	if l == nil {
		return
	}
	h.Set(protocol.HeaderLease, l.Epoch)
	if len(l.Isolated) > 0 {
		h.Set(protocol.HeaderIsolated, strings.Join(l.Isolated, ","))
	}
}

// held returns the error of an answer that names a holder, or nil. The rest of the answer is read, so that the connection
// can be used again.
func (l *Lease) held(path string, r *http.Response) error {
	if l == nil || r.StatusCode != http.StatusConflict {
		return nil
	}
	h, err := protocol.ParseHolder(r.Header.Get(protocol.HeaderHolder))
	if err != nil { // a conflict of another kind
		return nil //nolint:nilerr // which is not for us to judge
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxProblem))
	e := &HeldError{Holder: h, Path: path}
	if seconds, err := strconv.ParseUint(r.Header.Get("Retry-After"), 10, 16); err == nil {
		e.After = min(time.Duration(seconds)*time.Second, longestAfter)
	}
	return e
}
