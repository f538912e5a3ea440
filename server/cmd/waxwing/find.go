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
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// location is where a static repository can be read, and what is known of it.
type location struct {
	at   string // folder or URL
	root string // file with the trusted root.json; empty: the repository's own first one
	ca   string // file with the CA of an https URL; empty: the system's
}

// found is a release in a static repository, verified as a device would.
type found struct {
	fetch    trust.Fetcher
	trust    *trust.Trust
	manifest *firmware.Manifest
	dir      string
}

// find verifies the repository and the release. The caller closes it.
func find(ctx context.Context, l location, name string) (*found, error) {
	product, version, err := parseRelease(name)
	if err != nil {
		return nil, err
	}
	fetch, err := l.open()
	if err != nil {
		return nil, err
	}
	root, err := l.trusted(ctx, fetch)
	if err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp("", "waxwing-")
	if err != nil {
		return nil, err
	}
	f := &found{fetch: fetch, dir: temp}
	if err := f.open(ctx, root, product, version); err != nil {
		f.close()
		return nil, fmt.Errorf("release %s in %s: %w", name, l.at, err)
	}
	return f, nil
}

func (f *found) open(ctx context.Context, root []byte, product, version string) (err error) {
	if f.trust, err = trust.Open(trust.Options{Dir: f.dir, Root: root, Fetch: f.fetch}); err != nil {
		return err
	}
	if err = f.trust.Refresh(ctx); err != nil {
		return err
	}
	f.manifest, err = f.look(ctx, product, version)
	return err
}

// look finds a release by name; the error matches trust.ErrNotFound when the signed metadata does not list it.
func (f *found) look(ctx context.Context, product, version string) (*firmware.Manifest, error) {
	_, m, err := f.trust.Find(ctx, product, version)
	return m, err
}

func (f *found) close() { _ = os.RemoveAll(f.dir) }

func (f *found) index(ctx context.Context, component string) (*firmware.Index, error) {
	return f.trust.Index(ctx, f.manifest, component)
}

// another returns a second release of the same repository, with its index of a component.
func (f *found) another(ctx context.Context, product, version, component string) (*firmware.Index, error) {
	m, err := f.look(ctx, product, version)
	if err != nil {
		return nil, err
	}
	return f.trust.Index(ctx, m, component)
}

// frame reads a chunk as it is stored.
func (f *found) frame(ctx context.Context, id firmware.ChunkID) ([]byte, error) {
	return f.fetch.Fetch(ctx, "chunks/"+firmware.ChunkPath(id), firmware.MaxFrameSize)
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

func (l location) open() (trust.Fetcher, error) {
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

// folder reads a repository from a folder.
type folder string

// Fetch implements trust.Fetcher.
func (f folder) Fetch(_ context.Context, path string, limit int64) ([]byte, error) {
	if !filepath.IsLocal(path) {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrInvalid)
	}
	file, err := os.Open(filepath.Join(string(f), filepath.FromSlash(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, trust.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return capped(file, path, limit)
}

// web reads a repository from a web server.
type web struct {
	base   string
	client *http.Client
}

// Fetch implements trust.Fetcher.
func (w web) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return capped(answer.Body, path, limit)
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", r.URL, trust.ErrNotFound)
	}
	return nil, fmt.Errorf("%s: %s", r.URL, answer.Status)
}

func capped(r io.Reader, path string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: over %d bytes: %w", path, limit, firmware.ErrTooLarge)
	}
	return b, err
}
