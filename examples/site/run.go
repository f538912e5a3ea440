package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	network "github.com/waxwing-ota/waxwing/mesh/meshtest/site"
	"github.com/waxwing-ota/waxwing/server/api/client"
)

// Options configure Measure.
type Options struct {
	Bin     string        // folder of waxwing-server, waxwing, waxwing-agent and hostile
	Dir     string        // a temporary folder is made in it; empty: in memory, if possible
	Logs    string        // folder for the programs' words; empty: they are dropped
	Devices int           // N
	Rate    string        // of the uplink, as tc writes it
	Bytes   int64         // of the image
	Spread  time.Duration // from the first to the last device, where they are switched on one by one
	NAT     bool          // the site has one address outside
	Words   io.Writer     // progress, for people
}

// Run is what one run measured.
type Run struct {
	Devices   int           // that had to finish
	Down, Up  int64         // bytes over the uplink until all had committed
	InPlace   time.Duration // from the start of the rollout until the last device had all chunks
	Committed time.Duration // … had committed
	Sent      []int64       // bytes by device
	CPU       []time.Duration
	RSS       []int64 // bytes by device
	TCP       []int64 // the most connections by device, in and out
	Busy      float64 // part of the machine's processors
	Stocked   int64   // bytes over the uplink before, for the depot
	Hostile   int     // devices that mean harm
	Reported  int     // of them, that others accuse
	Slandered int     // other devices that are accused
}

// play runs a scenario once.
func play(ctx context.Context, o Options, s Scenario, n int) (r *Run, err error) {
	st, err := newStand(ctx, o, s, n)
	if err != nil {
		return nil, err
	}
	defer func() {
		words := st.words()
		if err != nil {
			err = errors.Join(err, words)
		}
		err = errors.Join(err, st.close())
	}()
	w := &watch{stand: st, inPlace: map[string]bool{}}
	if s.depot {
		if err := w.stock(ctx); err != nil {
			return nil, err
		}
	}
	if w.before, err = st.site.Counters(); err != nil {
		return nil, err
	}
	for _, d := range st.devices {
		d.look()
		w.cpu = append(w.cpu, d.cpu)
	}
	worked, all := busy()
	w.began = time.Now()
	if !s.depot {
		if w.rollout, err = st.cloud.rollOut(ctx, version); err != nil {
			return nil, err
		}
	}
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	worked2, all2 := busy()
	if err := w.hear(ctx); err != nil {
		return nil, err
	}
	r, err = w.result()
	if err == nil && all2 > all {
		r.Busy = float64(worked2-worked) / float64(all2-all)
	}
	return r, err
}

// watch follows one rollout.
type watch struct {
	*stand
	rollout string
	began   time.Time
	before  network.Counters
	cpu     []time.Duration

	inPlace   map[string]bool // devices that have all chunks
	placed    time.Duration   // when the last of them had
	committed time.Duration
	struck    bool  // the power has failed
	stocked   int64 // bytes over the uplink, for the depot alone
	reported  map[string]client.RolloutDevice
	accused   map[string]bool // devices of which others say that they did wrong
}

// stock lets the depot get the release while the devices are off.
func (w *watch) stock(ctx context.Context) error {
	before, err := w.site.Counters()
	if err != nil {
		return err
	}
	if w.rollout, err = w.cloud.rollOut(ctx, version); err != nil {
		return err
	}
	d := w.devices[len(w.devices)-1]
	if err := await(ctx, "the depot to keep the release", w.patience(), func() (bool, error) {
		if d.agent.ended() {
			return false, fmt.Errorf("its agent ended: %w", d.agent.err)
		}
		return w.cloud.keeps(ctx, d.id, version)
	}); err != nil {
		return err
	}
	now, err := w.site.Counters()
	w.stocked = now.Minus(before).Uplink.In
	return err
}

const (
	lookEvery = 100 * time.Millisecond // at processes and counters
	askEvery  = 2                      // looks, for the server
	tcpEvery  = 5                      // likewise, for connections
)

// run returns when every device that can has committed.
func (w *watch) run(ctx context.Context) error {
	patience := w.patience()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var left string
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not all devices have committed after %s: %s: %w", time.Since(w.began).Round(time.Second), left, ctx.Err())
		case <-ticker.C:
		}
		for _, d := range w.devices {
			d.look()
			if i%tcpEvery == 0 {
				d.count()
			}
			if d.agent != nil && d.agent.ended() && !d.killed {
				return fmt.Errorf("the agent of %s ended: %w", d.id, d.agent.err)
			}
		}
		if err := w.intervene(); err != nil {
			return err
		}
		if i%askEvery != 0 {
			continue
		}
		var err error
		if left, err = w.ask(ctx); err != nil {
			return err
		}
		if left == "" {
			w.committed = time.Since(w.began)
			return nil
		}
	}
}

// patience is many times what a run should take: one that takes longer is stuck.
func (w *watch) patience() time.Duration {
	rate, err := ParseRate(w.o.Rate)
	if err != nil || rate == 0 {
		return 10 * time.Minute
	}
	copies := 10
	if w.s.off {
		copies = 2*len(w.devices) + 2
	}
	return 2*time.Minute + w.o.Spread + time.Duration(copies)*time.Duration(float64(w.o.Bytes*8)/float64(rate)*float64(time.Second))
}

// ask notes where the devices stand and says who is left.
func (w *watch) ask(ctx context.Context) (left string, err error) {
	now := time.Since(w.began)
	all, err := w.cloud.statuses(ctx, w.rollout)
	if err != nil {
		return "", err
	}
	w.reported = all
	for _, d := range w.devices {
		if !d.finishes() {
			continue
		}
		status := all[d.id].Status
		if status == client.StatusFailed || status == client.StatusExcluded {
			return "", fmt.Errorf("%s is %s: %s", d.id, status, why(all[d.id]))
		}
		switch status {
		case client.StatusInstalling, client.StatusRebooting, client.StatusProving, client.StatusSucceeded:
			if !w.inPlace[d.id] {
				w.inPlace[d.id], w.placed = true, now
			}
		}
		if status != client.StatusSucceeded {
			left += fmt.Sprintf("%s is %s; ", d.id, status)
		}
	}
	return left, nil
}

// intervene does what the scenario does to devices, when it is time.
func (w *watch) intervene() error {
	if w.s.spread || w.s.depot {
		for i, d := range w.devices {
			due := w.s.pause(w.o) * time.Duration(i) / time.Duration(max(len(w.devices)-1, 1))
			if d.agent == nil && time.Since(w.began) >= due {
				if err := d.switchOn(w.o.Bin, w.folder.path); err != nil {
					return err
				}
			}
		}
	}
	if w.s.killed == 0 || w.struck {
		return nil
	}
	now, err := w.site.Counters()
	if err != nil || now.Minus(w.before).Uplink.In < w.o.Bytes/2 {
		return err
	}
	w.struck = true
	for i := range some(w.s.killed, len(w.devices)) {
		w.devices[i].killed = true
		w.devices[i].agent.kill()
	}
	return nil
}

// hear asks the server what devices say of each other. What one has seen is in the report that it has committed.
func (w *watch) hear(ctx context.Context) error {
	w.accused = map[string]bool{}
	for _, d := range w.devices {
		if !d.finishes() {
			continue
		}
		all, err := w.cloud.offences(ctx, d.id)
		if err != nil {
			return err
		}
		for _, x := range all {
			fmt.Fprintf(w.o.Words, "  %s says of %s: %s, %d times\n", d.id, x.Neighbor, x.Kind, x.Count)
			w.accused[x.Neighbor] = true
		}
	}
	return nil
}

func (w *watch) result() (*Run, error) {
	now, err := w.site.Counters()
	if err != nil {
		return nil, err
	}
	used := now.Minus(w.before)
	r := &Run{Stocked: w.stocked, Down: used.Uplink.In, Up: used.Uplink.Out, InPlace: w.placed, Committed: w.committed}
	if err := w.note(used); err != nil {
		return nil, err
	}
	for i, d := range w.devices {
		switch accused := w.accused[d.id]; {
		case d.hostile && accused:
			r.Hostile++
			r.Reported++
		case d.hostile:
			r.Hostile++
		case accused:
			r.Slandered++
		}
		if !d.finishes() {
			continue
		}
		r.Devices++
		r.Sent = append(r.Sent, used.Devices[i].Out)
		r.CPU = append(r.CPU, d.cpu-w.cpu[i])
		r.RSS, r.TCP = append(r.RSS, d.rss), append(r.TCP, d.tcp)
	}
	return r, nil
}

// note writes what is known of each device beside the logs: what it says of itself, and what its port says.
func (w *watch) note(used network.Counters) error {
	if w.o.Logs == "" {
		return nil
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "device\tstatus\tfrom the server\tfrom neighbours\tinto its port\tout of it\tCPU\tmemory\tconnections\tphases, ms")
	for i, d := range w.devices {
		r := w.reported[d.id]
		var bytes client.Bytes
		if r.Bytes != nil {
			bytes = *r.Bytes
		}
		var phases map[string]int64
		if r.Millis != nil {
			phases = *r.Millis
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%d\t%d\t%v\n", d.id, r.Status, bytes.Origin, bytes.Peers,
			used.Devices[i].In, used.Devices[i].Out, d.cpu-w.cpu[i], d.rss, d.tcp, phases)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	dir := filepath.Join(w.o.Logs, w.s.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "devices.txt"), []byte(b.String()), 0o644)
}
