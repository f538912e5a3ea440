package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// location is where a static repository can be read, and what is known of it.
type location struct {
	at   string // folder or URL
	root string // file with the trusted root.json; empty: the repository's own first one
	ca   string // file with the CA of an https URL; empty: the system's
}

func (l location) trusted(ctx context.Context, fetch trust.Fetcher) ([]byte, error) {
	if l.root != "" {
		return os.ReadFile(l.root)
	}
	root, err := fetch.Fetch(ctx, "metadata/1.root.json", 1<<20)
	if err != nil {
		return nil, fmt.Errorf("%s is no repository: %w", l.at, err)
	}
	return root, nil
}

func (l location) open() (remote.Files, error) {
	if !strings.Contains(l.at, "://") {
		return folder(l.at), nil
	}
	u, err := url.Parse(l.at)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usage("%s: write a folder, or an http or https URL", l.at)
	}
	w := web{base: strings.TrimSuffix(l.at, "/") + "/", client: &http.Client{
		Timeout:       2 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if l.ca != "" {
		b, err := os.ReadFile(l.ca)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(b) {
			return nil, usage("--ca %s: no certificate in it", l.ca)
		}
		w.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	}
	return w, nil
}

// counted counts what is read from a repository.
type counted struct {
	remote.Files
	bytes atomic.Int64
}

// Fetch implements remote.Files.
func (c *counted) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	b, err := c.Files.Fetch(ctx, path, limit)
	c.bytes.Add(int64(len(b)))
	return b, err
}

// Range implements remote.Files.
func (c *counted) Range(ctx context.Context, path string, offset, n int64) ([]byte, error) {
	b, err := c.Files.Range(ctx, path, offset, n)
	c.bytes.Add(int64(len(b)))
	return b, err
}

// folder reads a repository from a folder.
type folder string

func (f folder) open(path string) (*os.File, error) {
	if !filepath.IsLocal(path) {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrInvalid)
	}
	file, err := os.Open(filepath.Join(string(f), filepath.FromSlash(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, trust.ErrNotFound)
	}
	return file, err
}

// Fetch implements remote.Files.
func (f folder) Fetch(_ context.Context, path string, limit int64) ([]byte, error) {
	file, err := f.open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return capped(file, path, limit)
}

// Range implements remote.Files.
func (f folder) Range(_ context.Context, path string, offset, n int64) ([]byte, error) {
	file, err := f.open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return upTo(io.NewSectionReader(file, offset, n), n)
}

// web reads a repository from a web server.
type web struct {
	base   string
	client *http.Client
}

// get asks for a file or, with a range, a part of one. The caller closes the body.
func (w web) get(ctx context.Context, path, part string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept-Encoding", "identity") // what is counted is what comes over the line
	if part != "" {
		r.Header.Set("Range", part)
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusNotFound {
		answer.Body.Close()
		return nil, fmt.Errorf("%s: %w", r.URL, trust.ErrNotFound)
	}
	return answer, nil
}

// Fetch implements remote.Files.
func (w web) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	answer, err := w.get(ctx, path, "")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", answer.Request.URL, answer.Status)
	}
	return capped(answer.Body, path, limit)
}

// Range implements remote.Files.
func (w web) Range(ctx context.Context, path string, offset, n int64) ([]byte, error) {
	answer, err := w.get(ctx, path, fmt.Sprintf("bytes=%d-%d", offset, offset+n-1))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusPartialContent:
		if says := answer.Header.Get("Content-Range"); !strings.HasPrefix(says, fmt.Sprintf("bytes %d-", offset)) {
			return nil, fmt.Errorf("%s: it sends %q where bytes from %d on were asked for", answer.Request.URL, says, offset)
		}
		return upTo(answer.Body, n)
	case http.StatusOK:
		if offset > 0 {
			return nil, fmt.Errorf("%s: %w", answer.Request.URL, remote.ErrNoRange)
		}
		return upTo(answer.Body, n)
	case http.StatusRequestedRangeNotSatisfiable:
		return nil, nil // the file ends before
	}
	return nil, fmt.Errorf("%s: %s", answer.Request.URL, answer.Status)
}

// upTo reads n bytes, or fewer when there are no more, into memory that is taken once.
func upTo(r io.Reader, n int64) ([]byte, error) {
	b := make([]byte, n)
	got, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return b[:got], err
}

func capped(r io.Reader, path string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: over %d bytes: %w", path, limit, firmware.ErrTooLarge)
	}
	return b, err
}
