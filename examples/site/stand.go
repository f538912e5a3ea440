package site

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent"
	network "github.com/waxwing-ota/waxwing/mesh/meshtest/site"
)

const version = "1.0.0"

// stand is a site with a server and enrolled devices, for one run.
type stand struct {
	o       Options
	s       Scenario
	folder  *folder
	site    *network.Site
	cloud   *cloud
	devices []*device
	others  []*program // hostile ones
	mu      sync.Mutex // of others
}

// newStand builds a stand with the devices idle, or off when the scenario switches them on later, and the release published.
func newStand(ctx context.Context, o Options, s Scenario, n int) (*stand, error) {
	st := &stand{o: o, s: s}
	if err := st.build(ctx, n); err != nil {
		return nil, errors.Join(err, st.words(), st.close())
	}
	return st, nil
}

func (st *stand) build(ctx context.Context, n int) (err error) {
	if st.folder, err = newFolder(st.o.Dir, st.o.room(n)); err != nil {
		return err
	}
	if st.site, err = network.New(ctx, st.s.network(st.o.Rate, st.o.NAT)); err != nil {
		return err
	}
	if st.cloud, err = newCloud(ctx, st.site.Cloud, st.o.Bin, st.folder.path); err != nil {
		return err
	}
	token, err := st.cloud.enrolment(ctx)
	if err != nil {
		return err
	}
	if err := st.plug(ctx, n); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(4)
	for _, d := range st.devices {
		g.Go(func() error { return st.admit(ctx, d, token) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	image := filepath.Join(st.folder.path, "image")
	if err := noise(image, st.o.Bytes); err != nil {
		return err
	}
	if err := st.cloud.release(ctx, version, image); err != nil {
		return err
	}
	if err := os.Remove(image); err != nil {
		return err
	}
	if st.s.spread {
		return nil
	}
	return st.settle(ctx)
}

// room is what a run needs, in bytes: an image for each device and, more than once, for the server.
func (o Options) room(n int) int64 { return int64(n+4)*(o.Bytes+4<<20) + 256<<20 }

// plug adds the machines.
func (st *stand) plug(ctx context.Context, n int) error {
	ids := make([]string, n, n+1)
	for i := range ids {
		ids[i] = fmt.Sprintf("device-%03d", i+1)
	}
	if st.s.depot {
		ids = append(ids, "depot")
	}
	machines, err := st.site.Plug(ctx, len(ids))
	if err != nil {
		return err
	}
	hostile := some(st.s.hostile, n)
	for i, id := range ids {
		st.devices = append(st.devices, &device{
			Device: machines[i], id: id, dir: filepath.Join(st.folder.path, id), hostile: hostile[i], depot: i == n,
		})
	}
	return nil
}

// admit enrols a device and switches it on, unless that comes later. A hostile one is a real device of the fleet, too.
func (st *stand) admit(ctx context.Context, d *device, token string) error {
	if err := d.enroll(ctx, st.o.Bin, token, st.o.Bytes); err != nil {
		return err
	}
	if st.s.off {
		c, err := agent.LoadConfig(d.config())
		if err != nil {
			return err
		}
		c.Mesh.Off = true
		if err := c.Save(d.dir); err != nil {
			return err
		}
	}
	switch {
	case d.hostile:
		p, err := start(d.Namespace, st.folder.path, d.id, exec.Command( //nolint:noctx // stop ends it
			filepath.Join(st.o.Bin, "hostile"), "-config", d.config()))
		if err != nil {
			return err
		}
		st.mu.Lock()
		defer st.mu.Unlock()
		st.others = append(st.others, p)
		return nil
	case st.s.spread, st.s.depot && !d.depot:
		return nil
	}
	return d.switchOn(st.o.Bin, st.folder.path)
}

// settle waits until all devices are online and the LAN is quiet: whoever is there has been found.
func (st *stand) settle(ctx context.Context) error {
	want := 0
	for _, d := range st.devices {
		if d.agent != nil {
			want++
		}
	}
	if err := await(ctx, "all devices online", time.Minute, func() (bool, error) {
		n, err := st.cloud.online(ctx)
		if err == nil && n < want {
			err = fmt.Errorf("%d of %d", n, want)
		}
		return n >= want, err
	}); err != nil {
		return err
	}
	const (
		quiet = 2 * time.Second
		noise = 2 << 10 // bytes for each device, in that time
	)
	last, err := st.site.Counters()
	if err != nil {
		return err
	}
	for range 15 { // hostile devices are never quiet
		pause := time.NewTimer(quiet)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
		now, err := st.site.Counters()
		if err != nil {
			return err
		}
		var all int64
		for _, t := range now.Minus(last).Devices {
			all += t.Out
		}
		if last = now; all < int64(len(st.devices))*noise {
			return nil
		}
	}
	return nil
}

// noise writes bytes that nobody has and that do not compress.
func noise(path string, size int64) error {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, mrand.NewChaCha8(seed), size)
	return errors.Join(err, f.Close())
}

// words keeps the logs, when they are wanted, and returns what looks wrong in them as an error's text.
func (st *stand) words() error {
	if st.folder == nil {
		return nil
	}
	logs, _ := filepath.Glob(filepath.Join(st.folder.path, "*.log")) // the pattern is well-formed
	var errs []error
	for _, log := range logs {
		b, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		if st.o.Logs != "" {
			dir := filepath.Join(st.o.Logs, st.s.Name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(log)), b, 0o644); err != nil {
				return err
			}
		}
		if len(errs) < 5 {
			errs = append(errs, fmt.Errorf("the end of %s:\n%s", filepath.Base(log), b[max(len(b)-1<<10, 0):]))
		}
	}
	return errors.Join(errs...)
}

// close ends and removes everything.
func (st *stand) close() error {
	var all []*program
	for _, d := range st.devices {
		if d.agent != nil {
			all = append(all, d.agent)
		}
	}
	errs := []error{stopAll(append(all, st.others...))}
	if st.cloud != nil && st.cloud.server != nil {
		errs = append(errs, stopAll([]*program{st.cloud.server}))
		st.cloud.http.CloseIdleConnections()
	}
	if st.site != nil {
		errs = append(errs, st.site.Close())
	}
	if st.folder != nil {
		errs = append(errs, st.folder.remove())
	}
	return errors.Join(errs...)
}
