package site

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // BitTorrent names its pieces by it
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	network "github.com/waxwing-ota/waxwing/mesh/meshtest/site"
)

// pieceSize is what BitTorrent names by a hash, and fetches from one peer or the web.
const pieceSize = 256 << 10

// playTorrent lets aria2 bring the same bytes to the same site: a web seed in the cloud, and neighbours that find each
// other by local peer discovery (BEP 14), without a tracker and without the DHT.
func playTorrent(ctx context.Context, o Options, s Scenario, n int) (r *Run, err error) {
	st := &stand{o: o, s: s}
	defer func() {
		words := st.words()
		if err != nil {
			err = errors.Join(err, words)
		}
		err = errors.Join(err, st.close())
	}()
	if st.folder, err = newFolder(o.Dir, o.room(n)); err != nil {
		return nil, err
	}
	if st.site, err = network.New(ctx, s.network(o.Rate, o.NAT)); err != nil {
		return nil, err
	}
	if err := st.seedWeb(); err != nil {
		return nil, err
	}
	if err := st.plug(ctx, n); err != nil {
		return nil, err
	}
	w := &watch{stand: st, inPlace: map[string]bool{}, cpu: make([]time.Duration, n)}
	if w.before, err = st.site.Counters(); err != nil {
		return nil, err
	}
	worked, all := busy()
	w.began = time.Now()
	for _, d := range st.devices {
		if err := d.download(st.folder.path); err != nil {
			return nil, err
		}
	}
	if err := await(ctx, "all downloads", w.patience(), func() (bool, error) { return w.downloaded() }); err != nil {
		return nil, err
	}
	w.committed = w.placed
	worked2, all2 := busy()
	r, err = w.result()
	if err == nil && all2 > all {
		r.Busy = float64(worked2-worked) / float64(all2-all)
	}
	return r, err
}

// seedWeb makes an image and a torrent of it, and serves the image in the cloud.
func (st *stand) seedWeb() error {
	dir := st.folder.path
	www := filepath.Join(dir, "www")
	if err := os.Mkdir(www, 0o755); err != nil {
		return err
	}
	image := filepath.Join(www, "image")
	if err := noise(image, st.o.Bytes); err != nil {
		return err
	}
	b, err := torrent(image, "http://"+network.CloudAddr+"/image")
	if err != nil {
		return err
	}
	config := "daemon off; user root; pid " + dir + "/nginx.pid; error_log stderr;\nevents {}\nhttp {\n access_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += " " + kind + "_temp_path " + dir + "/nginx-" + kind + ";\n"
	}
	config += " server { listen " + network.CloudAddr + ":80; root " + www + "; }\n}\n"
	hook := "#!/bin/sh\n: >\"$(dirname \"$3\")/done\"\n"
	for name, f := range map[string]struct {
		content string
		mode    os.FileMode
	}{"image.torrent": {string(b), 0o644}, "nginx.conf": {config, 0o644}, "hook": {hook, 0o755}} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(f.content), f.mode); err != nil {
			return err
		}
	}
	nginx, err := locate("nginx")
	if err != nil {
		return err
	}
	p, err := start(st.site.Cloud, dir, "nginx", exec.Command(nginx, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf"))) //nolint:noctx // stop ends it
	if err != nil {
		return err
	}
	st.others = append(st.others, p)
	return nil
}

// torrent describes a file: BEP 3, with a web seed by BEP 19.
func torrent(path, url string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var pieces bytes.Buffer
	var size int64
	for {
		h := sha1.New() //nolint:gosec // likewise
		n, err := io.CopyN(h, f, pieceSize)
		if n > 0 {
			pieces.Write(h.Sum(nil))
			size += n
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	text := func(s string) string { return strconv.Itoa(len(s)) + ":" + s }
	info := fmt.Sprintf("d6:lengthi%de4:name%s12:piece lengthi%de6:pieces%se", size, text(filepath.Base(path)), pieceSize, text(pieces.String()))
	return []byte("d4:info" + info + "8:url-list" + text(url) + "e"), nil
}

// download starts aria2 on the device, with what serves a site best: left to itself it asks the web seed for a file's
// bytes in their order, so that all have the same pieces at any time and nothing to trade.
func (d *device) download(dir string) (err error) {
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		return err
	}
	aria2, err := locate("aria2c")
	if err != nil {
		return err
	}
	cmd := exec.Command( //nolint:noctx // stop ends it
		aria2, "--no-conf", "--dir="+d.dir, "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=true",
		"--bt-lpd-interface="+d.Addr.String(), "--listen-port=6881", "--seed-time=60", "--file-allocation=none", "--summary-interval=0",
		"--stream-piece-selector=random", "--min-split-size=1M", "--console-log-level=warn", "--on-bt-download-complete="+filepath.Join(dir, "hook"), filepath.Join(dir, "image.torrent"))
	cmd.Env = append(os.Environ(), "HOME="+d.dir)
	d.agent, err = start(d.Namespace, dir, d.id, cmd)
	return err
}

// downloaded notes who has everything.
func (w *watch) downloaded() (bool, error) {
	for _, d := range w.devices {
		d.look()
		d.count()
		if d.agent.ended() {
			return false, fmt.Errorf("aria2 of %s ended: %w", d.id, d.agent.err)
		}
		if w.inPlace[d.id] {
			continue
		}
		if _, err := os.Stat(filepath.Join(d.dir, "done")); err == nil {
			w.inPlace[d.id], w.placed = true, time.Since(w.began)
		}
	}
	return len(w.inPlace) == len(w.devices), nil
}

// locate returns a program, also from where Debian keeps those of root.
func locate(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if info, err := os.Stat("/usr/sbin/" + name); err == nil && info.Mode()&0o111 != 0 {
		return "/usr/sbin/" + name, nil
	}
	return "", fmt.Errorf("%s is not installed; install aria2 and nginx-light", name)
}
