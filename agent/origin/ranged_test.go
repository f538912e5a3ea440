package origin

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

var _ remote.Files = (*Client)(nil)

func TestRange(t *testing.T) {
	whole := strings.Repeat("0123456789", 1000)
	mux := http.NewServeMux()
	mux.HandleFunc("/repo/file", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(whole))
	})
	sent := 0
	mux.HandleFunc("/repo/whole", func(w http.ResponseWriter, r *http.Request) { // knows no ranges, and has no end
		for r.Context().Err() == nil {
			n, err := w.Write([]byte(whole))
			if sent += n; err != nil {
				return
			}
		}
	})
	partial := func(span, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", span)
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"elsewhere": partial("bytes 20-29/10000", whole[:10]),
		"long":      partial("bytes 10-29/10000", whole[:20]),
		"short":     partial("bytes 10-14/10000", whole[:5]),
		"lies":      partial("bytes 10-19/10000", whole[:12]),
		"none":      partial("", whole[:10]),
		"words":     partial("bytes a-b/c", whole[:10]),
		"past":      partial("bytes 10-19/15", whole[:10]),
		"cut":       func(w http.ResponseWriter, r *http.Request) { partial("bytes 10-19/10000", whole[:10])(cutter{w}, r) },
	} {
		mux.HandleFunc("/repo/"+name, h)
	}
	ca, s := serve(t, mux)
	s.Config.ErrorLog = nil
	c := client(t, ca, s.URL)
	for _, q := range []struct {
		path      string
		offset, n int64
		want      string
		is        error
	}{
		{"file", 0, 10, whole[:10], nil},
		{"file", 15, 2000, whole[15:2015], nil},
		{"file", 9995, 10, whole[9995:], nil},
		{"file", 10000, 1, "", firmware.ErrMalformed},
		{"file", -1, 1, "", nil},
		{"file", 1 << 62, 1 << 62, "", nil},
		{"absent", 0, 10, "", fs.ErrNotExist},
		{"whole", 0, 10, whole[:10], nil},
		{"whole", 10, 10, "", remote.ErrNoRange},
		{"elsewhere", 10, 10, "", firmware.ErrMalformed},
		{"long", 10, 10, "", firmware.ErrMalformed},
		{"short", 10, 10, "", firmware.ErrMalformed},
		{"lies", 10, 10, "", firmware.ErrMalformed},
		{"none", 10, 10, "", firmware.ErrMalformed},
		{"words", 10, 10, "", firmware.ErrMalformed},
		{"past", 10, 10, "", firmware.ErrMalformed},
		{"cut", 10, 10, "", nil},
	} {
		t.Run(fmt.Sprintf("%s %d+%d", q.path, q.offset, q.n), func(t *testing.T) {
			before := c.Bytes()
			b, err := c.Range(ctx, q.path, q.offset, q.n)
			if string(b) != q.want || (err == nil) != (q.want != "") || q.is != nil && !errors.Is(err, q.is) {
				t.Errorf("%q, %v", b, err)
			}
			if n := c.Bytes() - before; n < int64(len(b)) || n > q.n {
				t.Errorf("%d bytes are counted", n)
			}
		})
	}
	if sent > 16<<20 {
		t.Errorf("%d bytes were sent by a server that was to be cut off", sent)
	}
}

// TestRangeGoesOn breaks a transfer off again and again: every byte comes once, and of one file.
func TestRangeGoesOn(t *testing.T) {
	whole := []byte(strings.Repeat("0123456789abcdef", 4000))
	var asked []string
	changed := false
	ca, s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		if r.URL.Path == "/repo/gone" && len(asked) > 1 {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"1"`)
		if changed && len(asked) > 1 {
			w.Header().Set("ETag", `"2"`)
		}
		http.ServeContent(&breaker{ResponseWriter: w, left: 20000}, r, "", time.Time{}, bytes.NewReader(whole))
	}))
	c := client(t, ca, s.URL)
	b, err := c.Range(ctx, "file", 100, 50000)
	if err != nil || !bytes.Equal(b, whole[100:50100]) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	want := []string{"bytes=100-50099", "bytes=20100-50099", "bytes=40100-50099"}
	if !slices.Equal(asked, want) || c.Bytes() != 50000 {
		t.Errorf("asked for %q, %d bytes came", asked, c.Bytes())
	}
	asked, changed = nil, true
	if b, err := c.Range(ctx, "file", 100, 50000); !errors.Is(err, remote.ErrNoRange) {
		t.Errorf("of two files: %d bytes, %v", len(b), err)
	}
	asked = nil
	if _, err := c.Range(ctx, "gone", 100, 50000); !errors.Is(err, fs.ErrNotExist) || len(asked) != 2 {
		t.Errorf("asked for %q: %v", asked, err)
	}
}

// breaker ends the connection after some bytes.
type breaker struct {
	http.ResponseWriter
	left int
}

func (b *breaker) Write(p []byte) (int, error) {
	n, err := b.ResponseWriter.Write(p[:min(len(p), b.left)])
	if b.left -= n; b.left == 0 {
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// cutter sends less than it announces.
type cutter struct{ http.ResponseWriter }

func (c cutter) Write(b []byte) (int, error) { return c.ResponseWriter.Write(b[:len(b)/2]) }

func FuzzParseRange(f *testing.F) {
	f.Add("bytes 0-9/100")
	f.Add("bytes 5-5/*")
	f.Fuzz(func(t *testing.T, s string) {
		first, last, total, err := parseRange(s)
		if err == nil && (first < 0 || last < first || total <= last) {
			t.Fatalf("%d-%d/%d", first, last, total)
		}
	})
}
