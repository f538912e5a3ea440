package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"

	"golang.org/x/sys/unix"

	"github.com/waxwing-ota/waxwing/agent/boot"
	"github.com/waxwing-ota/waxwing/agent/boot/envfile"
	"github.com/waxwing-ota/waxwing/agent/install/slot"
	"github.com/waxwing-ota/waxwing/agent/origin"
)

// Grade is what a doctor thinks of one thing.
type Grade string

// The grades there are.
const (
	OK   Grade = "ok"
	Warn Grade = "warn"
	Fail Grade = "fail"
)

// Finding is one line of a doctor's report. Advice says what to do when the grade is not OK.
type Finding struct {
	Grade  Grade  `json:"grade"`
	What   string `json:"what"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

const (
	doctorPatience = 10 * time.Second
	leastSpace     = 16 << 20 // bytes for indexes, metadata and the journal
)

// Doctor examines a device, from its configuration to its neighbours. It may be run beside the agent and changes nothing
// but the boot environment's age.
func Doctor(ctx context.Context, path string) []Finding {
	d := &doctor{}
	c, err := LoadConfig(path)
	if !d.note("configuration", err, path, "fix the file, or enrol this device: waxwing-agent enroll") {
		return d.findings
	}
	d.files(c)
	if c.Depot == nil {
		d.loader(ctx, c)
		d.commands(c)
	}
	d.interfaces(c)
	d.limits(c, time.Now())
	id, err := LoadIdentity(c.Path(""))
	if d.note("identity", err, "", "enrol this device again, into an empty folder") {
		d.identity(c, id)
		d.server(ctx, c, id)
		d.brokers(ctx, c, id)
	}
	return d.findings
}

type doctor struct{ findings []Finding }

func (d *doctor) add(g Grade, what, detail, advice string) {
	d.findings = append(d.findings, Finding{g, what, detail, advice})
}

// note adds a failure, or detail as fine when it is not empty, and reports whether all is well.
func (d *doctor) note(what string, err error, detail, advice string) bool {
	switch {
	case err != nil:
		d.add(Fail, what, err.Error(), advice)
	case detail != "":
		d.add(OK, what, detail, "")
	}
	return err == nil
}

func (d *doctor) files(c *Config) {
	if c.Depot == nil {
		d.slots(c)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(c.Path(""), &s); err == nil {
		free := int64(s.Bavail) * int64(s.Bsize) //nolint:unconvert // 32 bits wide on 32-bit machines
		switch {
		case free < leastSpace:
			d.add(Warn, "space", fmt.Sprintf("%d KiB are free in %s", free>>10, c.Path("")), "make room: the agent keeps its state there")
		case c.Depot != nil && free+taken(c.Path(depotDir)) < c.Depot.space():
			d.add(Warn, "depot", fmt.Sprintf("%d MiB are free in %s, and it may take %d", free>>20, c.Path(depotDir), c.Depot.space()>>20),
				"make room or set depot.space lower; until then it keeps what fits")
		default:
			d.add(OK, "space", fmt.Sprintf("%d MiB are free", free>>20), "")
		}
	}
	if info, err := os.Stat(c.Path(KeyFile)); err == nil && info.Mode().Perm()&0o077 != 0 {
		d.add(Warn, "key", fmt.Sprintf("others may read %s", c.Path(KeyFile)), "chmod 600 "+c.Path(KeyFile))
	}
	_, err := atomicfile.Read(c.Path(RootFile), 1<<20)
	d.note("root", err, "", "copy root.json there, or enrol again")
}

func (d *doctor) slots(c *Config) {
	paths := c.SlotPaths()
	_, err := slot.Open(slot.Options{Dir: c.Path(stateDir) + "/slots", Slots: paths})
	if !d.note("slots", err, "", "set slots.a and slots.b to the two partitions") {
		return
	}
	var sizes []int64
	for _, name := range []string{"a", "b"} {
		size, err := capacity(paths[name])
		d.note("slot "+name, err, fmt.Sprintf("%s, %d MiB", paths[name], size>>20), "run as root, and check the path")
		sizes = append(sizes, size)
	}
	if sizes[0] != sizes[1] && sizes[0] > 0 && sizes[1] > 0 {
		d.add(Warn, "slots", "they differ in size", "a release must fit into the smaller one")
	}
}

// taken returns what the files of a folder take on the disk, in bytes.
func taken(dir string) (sum int64) {
	entries, _ := os.ReadDir(dir) // none, ordinarily: it has not run yet
	for _, e := range entries {
		var at unix.Stat_t
		if unix.Stat(filepath.Join(dir, e.Name()), &at) == nil {
			sum += at.Blocks * 512
		}
	}
	return sum
}

func capacity(path string) (int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	return size, errors.Join(err, f.Close())
}

// examined is a loader that can tell whether it works.
type examined interface {
	Doctor(ctx context.Context, slots []string) error
}

func (d *doctor) loader(ctx context.Context, c *Config) {
	slots := []string{"a", "b"}
	var l boot.Loader
	var err error
	if c.Virtual() {
		l, err = envfile.Open(c.Path(c.Boot.Path), "")
	} else {
		l, err = OpenLoader(c)
	}
	if !d.note("boot loader", err, "", "see boot in the configuration") {
		return
	}
	// Writing beside the agent could undo what it has just written, so then reading must do.
	unlock, err := lock(c.Path(stateDir))
	if err != nil {
		_, err = l.Trial(ctx)
		d.note("boot loader", err, c.Boot.Kind+", variables can be read; stop the agent to test writing", "see boot in the configuration; run as root")
		return
	}
	defer unlock()
	if e, ok := l.(examined); ok {
		d.note("boot loader", e.Doctor(ctx, slots), c.Boot.Kind+", variables can be read and written", "see boot in the configuration; run as root")
	}
}

func (d *doctor) commands(c *Config) {
	if !c.Virtual() {
		path, err := exec.LookPath(c.reboot()[0])
		d.note("reboot", err, path, "set reboot to a command that restarts the machine")
	}
	for _, p := range c.Probes {
		if len(p.Command) > 0 {
			if _, err := exec.LookPath(p.Command[0]); err != nil {
				d.add(Warn, "probe "+p.Name, err.Error(), "every release would fail this probe, unless it brings the command")
			}
		}
	}
	if len(c.Probes) == 0 {
		d.add(Warn, "probes", "none are configured", "a release proves itself by reaching the server only; add probes of what the device is for")
	}
}

func (d *doctor) interfaces(c *Config) {
	if c.Mesh.Off {
		d.add(OK, "mesh", "off: everything comes from the server", "")
		return
	}
	for _, name := range c.Mesh.Interfaces {
		i, err := net.InterfaceByName(name)
		if err == nil && i.Flags&net.FlagUp == 0 {
			err = errors.New("it is down")
		}
		d.note("interface "+name, err, "up", "set mesh.interfaces to interfaces that exist; none means all")
	}
	all, err := net.Interfaces()
	usable := 0
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&(net.FlagMulticast|net.FlagLoopback) != 0 {
			usable++
		}
	}
	if err == nil && usable == 0 {
		d.add(Warn, "mesh", "no interface can multicast", "neighbours will not be found; everything comes from the server")
	} else if len(c.Mesh.Interfaces) == 0 {
		d.note("mesh", err, fmt.Sprintf("%d interfaces to look for neighbours on", usable), "")
	}
}

func (d *doctor) identity(c *Config, id *Identity) {
	leaf := id.Certificate().Leaf
	until := leaf.NotAfter.UTC().Format(time.RFC3339)
	switch {
	case id.Device() != c.Device:
		d.add(Fail, "identity", fmt.Sprintf("the certificate is of %q, the configuration of %q", id.Device(), c.Device), "enrol this device again")
	case time.Now().After(leaf.NotAfter):
		d.add(Fail, "identity", "the certificate has expired at "+until, "check the clock; else enrol this device again")
	case time.Now().Before(leaf.NotBefore):
		d.add(Fail, "identity", "the certificate is not valid before "+leaf.NotBefore.UTC().Format(time.RFC3339), "set the clock")
	case time.Now().After(id.RenewAt().Add(time.Until(leaf.NotAfter) / 2)):
		d.add(Warn, "identity", c.Device+", valid until "+until+", and was not renewed in time", "see whether the agent runs and reaches the server")
	default:
		d.add(OK, "identity", c.Device+", valid until "+until, "")
	}
}

func (d *doctor) server(ctx context.Context, c *Config, id *Identity) {
	client, err := origin.New(origin.Options{Server: c.Server, TLS: id.TLS()})
	if !d.note("server", err, "", "set server to https://host:port") {
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	begin := time.Now()
	at, err := client.Time(ctx)
	if !d.note("server", err, c.Server, "check the network, the name and the port; is waxwing-server up?") {
		return
	}
	off := time.Since(at.Add(time.Since(begin) / 2)).Abs()
	detail := fmt.Sprintf("%s beside the server's", off.Round(time.Millisecond))
	switch {
	case off > time.Hour:
		d.add(Fail, "clock", detail, "set the clock: certificates and policies are judged by it")
	case off > time.Minute:
		d.add(Warn, "clock", detail, "run a time service such as chrony")
	default:
		d.add(OK, "clock", detail, "")
	}
}

// brokers shakes hands only: connecting with the device's name would push the running agent out.
func (d *doctor) brokers(ctx context.Context, c *Config, id *Identity) {
	if len(c.Brokers) == 0 {
		d.add(Warn, "broker", "none is configured", "the device asks by HTTPS now and then, so it hears of changes late")
	}
	for _, b := range c.Brokers {
		u, err := url.Parse(b)
		if err == nil {
			err = shake(ctx, u.Host, id.TLS())
		}
		d.note("broker", err, b, "check the network and the port; until then the device asks by HTTPS")
	}
}

func shake(ctx context.Context, host string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", host)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Running reports whether an agent runs with this configuration now.
func Running(c *Config) bool {
	unlock, err := lock(c.Path(stateDir))
	if err == nil {
		unlock()
	}
	return errors.Is(err, ErrRunning)
}
