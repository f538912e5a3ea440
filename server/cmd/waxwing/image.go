package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/release/build"
)

// rootfs is the component that an image becomes.
const rootfs = "rootfs"

// imageFlags say what a release is made of.
type imageFlags struct {
	product, version, image string
	hardware                []string
	key                     string
}

func (o *imageFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.product, "product", "", "`NAME` of the product (required)")
	f.StringVar(&o.version, "version", "", "`VERSION` of the release (required)")
	f.StringSliceVar(&o.hardware, "hardware", nil, "hardware `IDS` that may run it (required)")
	f.StringVar(&o.image, "image", "", "`FILE` with the image (required)")
	f.StringVar(&o.key, "key", "", "product `KEY` to sign with: a file, exec:COMMAND or ssh-agent:…; see \"waxwing keys --help\"")
}

func (o *imageFlags) check() error {
	if o.product == "" || o.version == "" || o.image == "" || len(o.hardware) == 0 {
		return usage("--product, --version, --hardware and --image must be given")
	}
	for what, names := range map[string][]string{"product": {o.product}, "version": {o.version}, "hardware": o.hardware} {
		for _, name := range names {
			if err := firmware.CheckName(what, name); err != nil {
				return usage("%v", err)
			}
		}
	}
	return nil
}

// open opens the image; the caller closes it.
func (o *imageFlags) open() (*os.File, int64, error) {
	f, err := os.Open(o.image)
	if err != nil {
		return nil, 0, usage("--image: %v", err)
	}
	size, err := f.Seek(0, io.SeekEnd) // also for a block device
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil && size == 0 {
		err = fmt.Errorf("%s: %w", o.image, build.ErrEmpty)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, size, nil
}

// component describes a payload that was cut.
func component(r *build.Result) firmware.Component {
	encoded := r.Index.Encode()
	return firmware.Component{
		Name: rootfs, Handler: firmware.HandlerSlot, Size: r.Size, SHA256: r.SHA256,
		Index: firmware.File{Size: int64(len(encoded)), SHA256: firmware.Sum(encoded)},
	}
}

// listed is a chunk store that holds everything: cutting into it only names the chunks.
type listed struct{}

func (listed) Size(context.Context, firmware.ChunkID) (int64, error) { return 0, nil }
func (listed) Put(context.Context, firmware.ChunkID, []byte) error {
	return errors.New("a chunk that is there is not put")
}

// meter shows how far something is, on a terminal.
type meter struct {
	a     *app
	what  string
	total int64
	on    bool

	mu   sync.Mutex
	done int64
	last time.Time
}

func (a *app) meter(what string, total int64) *meter {
	f, ok := a.words.(*os.File)
	return &meter{a: a, what: what, total: total, on: ok && term.IsTerminal(int(f.Fd()))}
}

// at says how much is done.
func (m *meter) at(done int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = max(m.done, done)
	if !m.on || time.Since(m.last) < 100*time.Millisecond {
		return
	}
	m.last = time.Now()
	fmt.Fprintf(m.a.words, "\r\x1b[K%s %s of %s", m.what, size(m.done), size(m.total))
}

// of says how much is done, of how much.
func (m *meter) of(done, total int64) {
	m.mu.Lock()
	m.total = total
	m.mu.Unlock()
	m.at(done)
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	done := m.done + n
	m.mu.Unlock()
	m.at(done)
}

// end clears the line and says what was done.
func (m *meter) end(format string, v ...any) {
	if m.on {
		fmt.Fprint(m.a.words, "\r\x1b[K")
	}
	m.a.say(format, v...)
}
