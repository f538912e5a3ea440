package site

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	network "github.com/waxwing-ota/waxwing/mesh/meshtest/site"
)

// device is a machine with an agent, which may run or not.
type device struct {
	*network.Device
	id      string
	dir     string
	agent   *program
	hostile bool
	depot   bool
	killed  bool

	cpu time.Duration // of the agent, when it was last looked at
	rss int64         // the most that was ever resident, in bytes
	tcp int64         // the most connections that it was seen with
}

// finishes reports whether the device is one of those that have to.
func (d *device) finishes() bool { return !d.hostile && !d.depot && !d.killed }

// enroll makes the device one of the fleet.
func (d *device) enroll(ctx context.Context, bin, token string, image int64) error {
	kind := hardware
	if d.depot {
		kind = "depot"
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "waxwing-agent"), "enroll", "--server", "https://"+deviceAddr, "--token", token,
		"--data", d.dir, "--id", d.id, "--hardware", kind, "--virtual", "--interface", network.Interface,
		"--slot-size", fmt.Sprint(image>>20+1))
	var words strings.Builder
	cmd.Stdout, cmd.Stderr = &words, &words
	if err := d.Run(cmd); err != nil {
		return fmt.Errorf("enrol %s: %w: %s", d.id, err, words.String())
	}
	return nil
}

// config is the path of agent.json.
func (d *device) config() string { return filepath.Join(d.dir, "agent.json") }

// switchOn starts the agent.
func (d *device) switchOn(bin, logs string) (err error) {
	cmd := exec.Command(filepath.Join(bin, "waxwing-agent"), "run", "--config", d.config()) //nolint:noctx // stop ends it
	if d.depot {
		cmd.Args = append(cmd.Args, "--depot")
	}
	d.agent, err = start(d.Namespace, logs, d.id, cmd)
	return err
}

// look reads what the agent's process needs. A virtual device restarts within one process, which keeps the time but
// forgets the memory; therefore it is looked at often.
func (d *device) look() {
	if d.agent == nil || d.agent.ended() {
		return
	}
	proc := fmt.Sprintf("/proc/%d/", d.agent.cmd.Process.Pid)
	if b, err := os.ReadFile(proc + "stat"); err == nil {
		d.cpu = max(d.cpu, cpuTime(string(b)))
	}
	if b, err := os.ReadFile(proc + "status"); err == nil {
		d.rss = max(d.rss, highWater(string(b)))
	}
}

// count counts the connections on the device's machine: those of the agent.
func (d *device) count() {
	if d.agent == nil || d.agent.ended() {
		return
	}
	var all int64
	for _, family := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", d.agent.cmd.Process.Pid, family))
		if err == nil {
			all += established(string(b))
		}
	}
	d.tcp = max(d.tcp, all)
}

// established counts what /proc/net/tcp lists in state 1.
func established(table string) (n int64) {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 3 && f[3] == "01" {
			n++
		}
	}
	return n
}

// tick is the unit of /proc/PID/stat, the same on every Linux that Go knows.
const tick = 10 * time.Millisecond

// cpuTime reads user and system time out of /proc/PID/stat: fields 14 and 15, and the second one may hold spaces.
func cpuTime(stat string) time.Duration {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * tick
}

// highWater reads VmHWM out of /proc/PID/status.
func highWater(status string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			f := strings.Fields(rest)
			if len(f) == 0 {
				return 0
			}
			kib, _ := strconv.ParseInt(f[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// busy returns how long the machine's processors worked and how long they could have.
func busy() (worked, all int64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	first, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(first) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil || i > 8 { // "cpu", and what guests use, which user time holds already
			continue
		}
		all += n
		if i != 4 && i != 5 { // idle, and waiting for a disk
			worked += n
		}
	}
	return worked, all
}
