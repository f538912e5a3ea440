package site_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/mesh/meshtest/site"
)

// roles are what this binary does when a test starts it in a namespace.
const roleVariable = "WAXWING_SITE_TEST_ROLE"

func TestMain(m *testing.M) {
	role, arguments, _ := strings.Cut(os.Getenv(roleVariable), " ")
	var err error
	switch role {
	case "":
		os.Exit(m.Run())
	case "hear":
		err = hear(arguments)
	case "shout":
		err = shout(arguments)
	case "abandoned":
		err = abandoned()
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play returns this binary in a role.
func play(ctx context.Context, role string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

func newSite(t *testing.T, o site.Options, devices int) (*site.Site, []*site.Device) {
	t.Helper()
	needs.Root(t, "network namespaces")
	s, err := site.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	all, err := s.Plug(t.Context(), devices)
	if err != nil {
		t.Fatal(err)
	}
	return s, all
}

// listen answers one connection in a namespace with so many bytes.
func listen(t *testing.T, n *site.Namespace, addr string, size int64) (at string) {
	t.Helper()
	l, err := n.Listen(t.Context(), "tcp", addr+":0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer l.Close()
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.CopyN(c, zeros{}, size)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestUplink takes bytes from the cloud and from a neighbour: the uplink counts the first and keeps its rate, the devices'
// ports count both.
func TestUplink(t *testing.T) {
	const size = 1 << 20
	s, d := newSite(t, site.Options{Rate: "16mbit"}, 2)
	take := func(from string) {
		t.Helper()
		c, err := d[0].Dial(t.Context(), "tcp", from)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if n, err := io.Copy(io.Discard, c); n != size || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	near := func(what string, got, want int64) {
		t.Helper()
		if got < want || got > want+want/10+10_000 {
			t.Errorf("%s: %d bytes, want %d and a little more", what, got, want)
		}
	}
	before := counters(t, s)
	at := listen(t, s.Cloud, site.CloudAddr, size)
	began := time.Now()
	take(at)
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("%d bytes at 16 Mbit/s took %s", size, took)
	}
	used := counters(t, s).Minus(before)
	near("uplink", used.Uplink.In, size)
	near("its device", used.Devices[0].In, size)
	near("the other", used.Devices[1].In, 0)

	before = counters(t, s)
	at = listen(t, d[1].Namespace, d[1].Addr.String(), size)
	take(at)
	used = counters(t, s).Minus(before)
	near("uplink", used.Uplink.In, 0)
	near("who takes", used.Devices[0].In, size)
	near("who gives", used.Devices[1].Out, size)
}

func counters(t *testing.T, s *site.Site) site.Counters {
	t.Helper()
	c, err := s.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestMany lets every device of a crowd reach every other, over IPv4 and IPv6.
func TestMany(t *testing.T) {
	const n = 40 // their neighbours would not fit into the kernel's one table
	_, d := newSite(t, site.Options{}, n)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	for i, to := range d {
		for _, addr := range []string{to.Addr.String(), fmt.Sprintf("[fd77::%x]", i+1)} {
			l, err := to.Listen(ctx, "tcp", addr+":0")
			if err != nil {
				t.Fatal(err)
			}
			for j, from := range d {
				if i == j {
					continue
				}
				c, err := from.Dial(ctx, "tcp", l.Addr().String())
				if err != nil {
					t.Fatalf("from %d to %d: %v", j, i, err)
				}
				c.Close()
			}
			l.Close()
		}
	}
}

// TestNAT lets the cloud see one address, whoever calls.
func TestNAT(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		needs.Lack(t, err)
	}
	s, d := newSite(t, site.Options{NAT: true}, 2)
	l, err := s.Cloud.Listen(t.Context(), "tcp", site.CloudAddr+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, d := range d {
		c, err := d.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if host, _, _ := net.SplitHostPort(in.RemoteAddr().String()); host != "10.99.0.1" {
			t.Errorf("%s is seen as %s", d.Addr, host)
		}
	}
}

// TestIsolated lets a device reach the cloud and not its neighbour.
func TestIsolated(t *testing.T) {
	s, d := newSite(t, site.Options{Isolated: true}, 2)
	c, err := d[0].Dial(t.Context(), "tcp", listen(t, s.Cloud, site.CloudAddr, 1))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if c, err := d[0].Dial(ctx, "tcp", listen(t, d[1].Namespace, d[1].Addr.String(), 1)); err == nil {
		c.Close()
		t.Error("it reached its neighbour")
	}
}

// abandoned makes a site with programs in it and says their process ids.
func abandoned() error {
	s, err := site.New(context.Background(), site.Options{})
	if err != nil {
		return err
	}
	devices, err := s.Plug(context.Background(), 2)
	if err != nil {
		return err
	}
	for _, d := range devices {
		cmd := exec.Command("sleep", "300")
		if err := d.Start(cmd); err != nil {
			return err
		}
		fmt.Println(cmd.Process.Pid)
	}
	select {}
}

// TestNothingIsLeftBehind kills the process that has made a site. The programs in it end, and the host has no interface
// that it did not have.
func TestNothingIsLeftBehind(t *testing.T) {
	before := interfaces(t)
	newSite(t, site.Options{}, 1) // beside it
	cmd := play(t.Context(), "abandoned")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for lines := bufio.NewScanner(out); len(pids) < 2 && lines.Scan(); {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 2 {
		t.Fatal("the site did not come up")
	}
	if during := interfaces(t); during != before {
		t.Errorf("the host has %s, had %s", during, before)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	for _, pid := range pids {
		for syscall.Kill(pid, 0) == nil && !zombie(pid) {
			select {
			case <-t.Context().Done():
				t.Fatalf("process %d lives", pid)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	if after := interfaces(t); after != before {
		t.Errorf("the host has %s, had %s", after, before)
	}
}

// zombie reports whether a process has ended and nobody has asked how: the first process of a container often does not.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

func interfaces(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

// TestClosed holds that a site that is gone says so.
func TestClosed(t *testing.T) {
	s, d := newSite(t, site.Options{}, 1)
	cmd := exec.Command("sleep", "300")
	if err := d[0].Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a program outlived its site")
	}
	if _, err := s.Counters(); err == nil {
		t.Error("counters of nothing")
	}
}
