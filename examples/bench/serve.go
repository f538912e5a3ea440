package bench

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// counter is a plain web server of a folder on loopback that counts the bytes of the bodies it sends.
type counter struct {
	URL    string
	server http.Server
	ended  chan error
	sent   atomic.Int64
}

// serve starts a counter. Paths with one of the parts are sent, but not counted.
func serve(ctx context.Context, dir string, free ...string) (*counter, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counter{URL: "http://" + listener.Addr().String(), ended: make(chan error, 1)}
	files := http.FileServer(http.Dir(dir))
	c.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, part := range free {
			if strings.Contains(r.URL.Path, part) {
				files.ServeHTTP(w, r)
				return
			}
		}
		files.ServeHTTP(&counted{w, &c.sent}, r)
	})
	go func() { c.ended <- c.server.Serve(listener) }()
	return c, nil
}

// close ends the server and returns the bytes that it has sent.
func (c *counter) close() (int64, error) {
	err := c.server.Close()
	if ended := <-c.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return c.sent.Load(), err
}

// counted has no ReadFrom on purpose: every byte passes Write.
type counted struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent.Add(int64(n))
	return n, err
}
