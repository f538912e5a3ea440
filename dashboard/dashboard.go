// Package dashboard is the operator's view in the browser: a React application under src, built by Vite into dist and
// embedded here. [Handler] serves it beside the API of server/api, which is all that it talks to.
//
// When it was not built (no Node on the machine), Handler serves one plain page that says how to build it, and the rest
// of the server works as ever.
package dashboard

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// dist holds at least the file that keeps the folder in the repository.
//
//go:embed all:dist
var dist embed.FS

// Handler serves the application. A path without a file is one of the application's own places, so it gets index.html;
// files under assets have their content's hash in their name and may be kept for ever.
func Handler() http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the folder is embedded
	}
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "the dashboard is only read; the API is under /api/v1", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if strings.HasPrefix(name, "assets/") {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
			server.ServeHTTP(w, r)
			return
		}
		h.Set("Cache-Control", "no-cache")
		if info, err := fs.Stat(files, name); err == nil && !info.IsDir() && name != "index.html" {
			server.ServeHTTP(w, r)
			return
		}
		index, err := fs.ReadFile(files, "index.html")
		if err != nil {
			index = []byte(notBuilt)
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(index) // a browser that hung up does not matter
	})
}

const notBuilt = `<!doctype html><meta charset="utf-8"><title>Waxwing</title>
<p>This server was built without its dashboard. Run <code>make build</code> with Node 20 installed, or use the
<code>waxwing</code> command: it can do everything that the dashboard can.</p>`
