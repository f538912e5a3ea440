package discovery_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/mesh/discovery"
)

// ports and up: where the devices answer.
const ports = 42000

// TestNamespaces puts devices into network namespaces of their own that a bridge in yet another one joins, and names no
// interfaces to them. The namespaces have no names and hold nothing of the host's: they are gone with the processes in
// them, however those end.
func TestNamespaces(t *testing.T) {
	needs.Root(t, "network namespaces")
	type outcome struct {
		out []byte
		err error
	}
	all := map[string]chan outcome{} // they mostly wait, so all run at once
	for name := range stories() {
		ended := make(chan outcome, 1)
		all[name] = ended
		go func() {
			ctx, stop := context.WithTimeout(t.Context(), 90*time.Second)
			defer stop()
			out, err := apart(ctx, "hub "+name).CombinedOutput()
			ended <- outcome{out, err}
		}()
	}
	for name, ended := range all {
		t.Run(name, func(t *testing.T) {
			got := <-ended
			t.Logf("%s", got.out)
			if got.err != nil {
				t.Error(got.err)
			}
		})
	}
}

// apart returns this binary in a role, in a new network namespace. It is killed at the latest with this process.
func apart(ctx context.Context, role string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "WAXWING_TEST_ROLE="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// play is what this binary does in a role.
func play(role string) error {
	ctx, stop := context.WithTimeout(context.Background(), 80*time.Second)
	defer stop()
	ctx, done := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer done()
	kind, name, _ := strings.Cut(role, " ")
	switch kind {
	case "hub":
		return hub(ctx, name)
	case "flood":
		return flood(ctx)
	}
	n, err := strconv.Atoi(name)
	if err != nil {
		return err
	}
	return device(ctx, n)
}

// site is what the hub sees of its devices.
type site struct {
	ctx     context.Context //nolint:containedctx // of the whole process
	devices []*plugged
	news    chan report
}

// plugged is a device as a process of its own.
type plugged struct {
	n     int
	cmd   *exec.Cmd
	stdin io.WriteCloser
	sees  []netip.AddrPort
	stats stats
}

// report is a line that a device says.
type report struct {
	N     int
	Sees  []netip.AddrPort
	Done  bool // with a command
	Stats stats
}

// stats are what a device costs its machine.
type stats struct {
	PeakKB  int
	CPU     time.Duration
	Wall    time.Duration
	Packets int    // of a flood
	Loud    string // who floods, with blanks between them
}

func hub(ctx context.Context, story string) error {
	if err := ip("link set lo up", "link add br0 type bridge", "link set br0 up"); err != nil {
		return err
	}
	s := &site{ctx: ctx, news: make(chan report)}
	err := stories()[story](s)
	for _, d := range s.devices {
		_ = d.cmd.Process.Kill()
	}
	return err
}

// start starts a device; commands of iproute2 follow, and when it is to begin.
func (s *site) start(role string) (*plugged, error) {
	d := &plugged{n: len(s.devices)}
	d.cmd = apart(s.ctx, fmt.Sprint(role, " ", d.n))
	d.cmd.Stderr = os.Stderr
	var err error
	if d.stdin, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	said, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	s.devices = append(s.devices, d)
	go func() {
		for lines := json.NewDecoder(said); ; {
			var r report
			if lines.Decode(&r) != nil {
				return
			}
			select {
			case s.news <- r:
			case <-s.ctx.Done():
				return
			}
		}
	}()
	return d, nil
}

// plug connects a device by a cable with an end named eth0.
func (s *site) plug(d *plugged) error {
	return ip(
		fmt.Sprintf("link add v%d type veth peer name eth0 netns %d", d.n, d.cmd.Process.Pid),
		fmt.Sprintf("link set v%d master br0 up", d.n),
	)
}

// do lets a device do things in its namespace.
func (s *site) do(d *plugged, commands ...string) error {
	for _, c := range commands {
		if _, err := fmt.Fprintln(d.stdin, c); err != nil {
			return err
		}
		if err := s.until("device "+strconv.Itoa(d.n)+" does "+c, func(r report) bool { return r.N == d.n && r.Done }); err != nil {
			return err
		}
	}
	return nil
}

// until waits for news that fulfil something.
func (s *site) until(what string, holds func(report) bool) error {
	for {
		select {
		case r := <-s.news:
			d := s.devices[r.N]
			switch {
			case r.Stats != stats{}:
				d.stats = r.Stats
			case !r.Done:
				d.sees = r.Sees
			}
			if holds(r) {
				return nil
			}
		case <-s.ctx.Done():
			all := ""
			for _, d := range s.devices {
				all += fmt.Sprintf("\ndevice %d sees %v", d.n, d.sees)
			}
			return errors.New("in vain: " + what + all)
		}
	}
}

// see waits until some devices see exactly these addresses of others; what answers a call there is checked by them.
func (s *site) see(want map[*plugged][]string) error {
	holds := func(report) bool {
		for d, all := range want {
			slices.Sort(all)
			var got []string
			for _, at := range d.sees {
				got = append(got, at.String())
			}
			slices.Sort(got)
			if !slices.Equal(got, all) {
				return false
			}
		}
		return true
	}
	if holds(report{}) {
		return nil
	}
	return s.until(fmt.Sprint("to see ", want), holds)
}

// device does what it is told, line by line.
func device(ctx context.Context, n int) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+strconv.Itoa(ports+n))
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	out := make(chan report)
	go func() {
		for e := json.NewEncoder(os.Stdout); ; {
			_ = e.Encode(<-out)
		}
	}()
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	began := time.Now()
	loud := &talkers{}
	ended, ask := make(chan error, 1), make(chan struct{}, 1)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); out <- (report{N: n, Done: true}) {
		command, rest, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "begin":
			go func() { ended <- look(ctx, n, ask, loud, out) }()
		case "ask":
			ask <- struct{}{}
		case "leave":
			leave()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				return err
			}
		case "sysctl":
			path, value, _ := strings.Cut(rest, "=")
			if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0o600); err != nil {
				return err
			}
		case "stats":
			s := cost(time.Since(began))
			s.Loud = loud.String()
			out <- report{N: n, Stats: s}
		default:
			if err := ip(lines.Text()); err != nil {
				return err
			}
		}
	}
	return nil
}

// talkers are those who say too much.
type talkers struct {
	mu  sync.Mutex
	all []string
}

func (l *talkers) note(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.all, a.String()) {
		l.all = append(l.all, a.String())
	}
}

func (l *talkers) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, " ")
}

// look reports whom it finds and can call.
func look(ctx context.Context, n int, ask <-chan struct{}, loud *talkers, out chan<- report) error {
	found := make(chan []netip.AddrPort, 1)
	judged := make(chan discovery.Verdict, 512)
	go func() {
		good := map[netip.AddrPort]bool{}
		for {
			select {
			case <-ctx.Done():
				return
			case all := <-found:
				var sees []netip.AddrPort
				for _, at := range all {
					if !good[at] {
						c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", at.String())
						if good[at] = err == nil; err == nil {
							c.Close()
						}
						judged <- discovery.Verdict{At: at, Good: err == nil}
					}
					if good[at] {
						sees = append(sees, at)
					}
				}
				out <- report{N: n, Sees: sees}
			}
		}
	}()
	return discovery.Run(ctx, discovery.Options{
		Fleet: "namespaces", Port: ports + n, Judged: judged, Look: ask, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Loud: loud.note,
	}, func(all []netip.AddrPort) {
		select {
		case <-found:
		default:
		}
		found <- all
	})
}

// cost is what this process has cost so far.
func cost(wall time.Duration) stats {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails
	return stats{PeakKB: int(u.Maxrss), CPU: time.Duration(u.Utime.Nano() + u.Stime.Nano()), Wall: wall}
}

// ip runs commands of iproute2 in this process's namespace.
func ip(commands ...string) error {
	program := "ip"
	if _, err := exec.LookPath(program); err != nil {
		program = "/usr/sbin/ip" // where Debian keeps it, apart from the PATH of users
	}
	for _, c := range commands {
		if out, err := exec.Command(program, strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, out)
		}
	}
	return nil
}
