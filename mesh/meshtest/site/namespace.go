package site

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// Namespace is one machine of a site: its network, not its files.
type Namespace struct {
	Name   string
	thread *thread
	file   *os.File
}

// Start starts a program in the namespace. It is killed at the latest when the site is closed or this process has ended.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return n.thread.start(n.file, cmd)
}

// Run starts a program in the namespace and waits for its end.
func (n *Namespace) Run(cmd *exec.Cmd) error {
	if err := n.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Dial connects from within the namespace. The address is numeric: names are resolved outside.
func (n *Namespace) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.thread.within(n.file, func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Listen listens in the namespace, at a numeric address.
func (n *Namespace) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	err = n.thread.within(n.file, func() (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, network, address)
		return err
	})
	return l, err
}

// Traffic is what an interface has carried since it was made, in bytes with the headers of Ethernet and IP.
type Traffic struct{ In, Out int64 }

// Traffic returns the counters of the namespace's interfaces, by name, all of one moment.
func (n *Namespace) Traffic() (out map[string]Traffic, err error) {
	var b []byte
	err = n.thread.within(n.file, func() (err error) {
		b, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		return nil, err
	}
	return parseTraffic(string(b))
}

// parseTraffic reads /proc/net/dev: two lines of headings, then a name, eight figures of what came and eight of what went.
func parseTraffic(s string) (map[string]Traffic, error) {
	out := map[string]Traffic{}
	for lines := bufio.NewScanner(strings.NewReader(s)); lines.Scan(); {
		name, figures, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		f := strings.Fields(figures)
		if len(f) < 9 {
			return nil, fmt.Errorf("/proc/net/dev: %q has %d figures, want 16", lines.Text(), len(f))
		}
		in, err := strconv.ParseInt(f[0], 10, 64)
		sent, err2 := strconv.ParseInt(f[8], 10, 64)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("/proc/net/dev: %w", err)
		}
		out[strings.TrimSpace(name)] = Traffic{In: in, Out: sent}
	}
	return out, nil
}

// configure runs lines of ip(8) in the namespace, and writes settings of the kernel.
func (n *Namespace) configure(ctx context.Context, settings map[string]string, lines ...string) error {
	err := n.thread.within(n.file, func() error {
		for name, value := range settings {
			if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err // what the kernel was built without, such as IPv6, cannot be set
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return n.feed(ctx, strings.Join(lines, "\n")+"\n", "ip", "-batch", "-")
}

// feed runs a program of the system's administration in the namespace, with input.
func (n *Namespace) feed(ctx context.Context, input, program string, args ...string) error {
	path, err := find(program)
	if err != nil {
		return err
	}
	var words strings.Builder
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &words, &words
	if err := n.Run(cmd); err != nil {
		return fmt.Errorf("%s: %s %s: %w: %s", n.Name, program, strings.Join(args, " "), err, words.String())
	}
	return nil
}

// find returns a program, also from where Debian keeps those of root.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if info, err := os.Stat(dir + name); err == nil && info.Mode()&0o111 != 0 {
			return dir + name, nil
		}
	}
	return "", fmt.Errorf("%s is not installed; ip and tc come with Debian's iproute2, nft with nftables", name)
}
