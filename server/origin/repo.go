package origin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// stalled is how long a download may stand still, for each piece that is written.
const stalled = time.Minute

// repo serves the static repository.
func (s *Server) repo(w http.ResponseWriter, r *http.Request) error {
	device, err := s.reader(r)
	if err != nil {
		return err
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return errMethod
	}
	name := strings.TrimPrefix(r.URL.Path, protocol.PathRepo)
	if !public(name) {
		return fmt.Errorf("%w: %s", errNotFound, r.URL.Path)
	}
	b, err := s.o.Blobs.Get(r.Context(), "repo/"+name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("%w: %s", errNotFound, r.URL.Path)
	}
	if err != nil {
		return fmt.Errorf("repo/%s: %w", name, err)
	}
	defer func() { s.sent(r, b.Close()) }()
	lease, err := s.lease(w, r, device, name, b.Size())
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", contentType(name))
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case strings.HasPrefix(name, "patches/"):
		tag, err := packTag(b)
		if err != nil {
			lease.End(false, s.o.Now())
			return fmt.Errorf("repo/%s: %w", name, err)
		}
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("ETag", tag)
	case mutable(name):
		h.Set("Cache-Control", "no-cache")
	default:
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		// The name says what is in it, so it is the tag of its content too.
		h.Set("ETag", `"`+path.Base(name)+`"`)
	}
	c := &counter{ResponseWriter: w, control: http.NewResponseController(w), moved: func() { lease.Moved(s.o.Now()) }}
	http.ServeContent(c, r, "", time.Time{}, b)
	s.served.add(device, c.bytes)
	lease.End(c.bytes > 0 && h.Get("Content-Length") == strconv.FormatInt(c.bytes, 10), s.o.Now())
	return nil
}

// reader returns the device that reads, or "" when the repository is open and nobody showed a certificate. An open
// repository is open to rejected devices too: a CDN would not know them either.
func (s *Server) reader(r *http.Request) (string, error) {
	device, admission, err := s.device(r)
	if s.o.OpenRepo {
		return device, nil
	}
	if err == nil && admission != fleet.Accepted {
		err = fmt.Errorf("%w; accept %s with waxwing device accept", fleet.ErrPending, device)
	}
	return device, err
}

// public reports whether a name is in a part of the repository that everybody may see.
func public(name string) bool {
	part, rest, ok := strings.Cut(name, "/")
	if !ok || blob.CheckKey(rest) != nil {
		return false
	}
	switch part {
	case "metadata", "targets", "chunks", "patches":
		return true
	}
	return false
}

// packTag returns the tag of a pack of patches. Its name is the pair of payloads, not its content: a pack is never written
// over, but it goes with its release, and should it be made again, by another version of this server, its bytes may be
// others. So caches may keep it for an hour, and ranges of two packs are told apart by front, end and length. A device that
// mixes them all the same finds that the chunks are wrong and fetches those whole.
func packTag(b blob.Blob) (string, error) {
	const part = 8 << 10
	h := sha256.New()
	fmt.Fprintln(h, b.Size())
	for _, from := range []int64{0, max(0, b.Size()-part)} {
		if _, err := b.Seek(from, io.SeekStart); err != nil {
			return "", err
		}
		if _, err := io.CopyN(h, b, min(part, b.Size())); err != nil {
			return "", err
		}
	}
	_, err := b.Seek(0, io.SeekStart)
	return fmt.Sprintf(`"%x"`, h.Sum(nil)[:12]), err
}

var numbered = regexp.MustCompile(`^metadata/[1-9][0-9]*\.[^/]+\.json$`)

// mutable reports whether the content under a name may change. Chunks and targets are named by their digest, and metadata
// is numbered and written once, but for timestamp.json.
func mutable(name string) bool {
	base := path.Base(name)
	switch {
	case strings.HasPrefix(name, "chunks/"):
		return false
	case strings.HasPrefix(name, "targets/") && len(base) > 64:
		_, err := firmware.ParseDigest(base[:64])
		return err != nil
	}
	return !numbered.MatchString(name)
}

func contentType(name string) string {
	if path.Ext(name) == ".json" {
		return "application/json"
	}
	return "application/octet-stream"
}

// counter counts the bytes of a body, and gives each piece of it a new time to get through, so that a slow download is
// good as long as it moves.
type counter struct {
	http.ResponseWriter
	control *http.ResponseController
	moved   func() // called with each piece
	bytes   int64
}

// Write implements http.ResponseWriter.
func (c *counter) Write(b []byte) (int, error) {
	// The deadline is that of a connection, so it is the real clock's.
	if err := c.control.SetWriteDeadline(time.Now().Add(stalled)); err != nil {
		return 0, err
	}
	n, err := c.ResponseWriter.Write(b)
	c.bytes += int64(n)
	c.moved()
	return n, err
}
