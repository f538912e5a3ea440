package discovery_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/mesh/discovery"
)

const (
	ports   = 42000 // and up: of the devices
	devices = 3
)

// TestNamespacesFindEachOther puts devices into network namespaces of their own that a bridge in yet another one joins,
// and names no interfaces to them. The namespaces have no names and hold nothing of the host's: they are gone with the
// processes in them, however those end.
func TestNamespacesFindEachOther(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	ctx, stop := context.WithTimeout(t.Context(), 40*time.Second)
	defer stop()
	hub := apart(ctx, "hub")
	out, err := hub.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
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
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	if role == "hub" {
		return hub(ctx)
	}
	n, err := strconv.Atoi(role)
	if err != nil {
		return err
	}
	return device(ctx, n)
}

// hub is the switch of a site: it plugs in the devices and waits until all have seen all.
func hub(ctx context.Context) error {
	if err := ip("link add br0 type bridge", "link set br0 up"); err != nil {
		return err
	}
	ctx, unplug := context.WithCancel(ctx)
	defer unplug()
	all, ctx := errgroup.WithContext(ctx)
	seen := make(chan string, devices)
	for n := range devices {
		cmd := apart(ctx, strconv.Itoa(n))
		cmd.Stderr = os.Stderr
		plug, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		said, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		if err := ip(
			fmt.Sprintf("link add v%d type veth peer name eth0 netns %d", n, cmd.Process.Pid),
			fmt.Sprintf("link set v%d master br0 up", n),
		); err != nil {
			return err
		}
		if _, err := io.WriteString(plug, "the cable is in\n"); err != nil {
			return err
		}
		all.Go(func() error {
			for lines := bufio.NewScanner(said); lines.Scan(); {
				seen <- lines.Text()
			}
			if err := cmd.Wait(); ctx.Err() == nil { // otherwise it was killed because everybody has seen everybody
				return fmt.Errorf("device %d ended: %w", n, err)
			}
			return nil
		})
	}
	for range devices {
		select {
		case <-seen:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("not every device has seen the others: %w", ctx.Err()), all.Wait())
		}
	}
	unplug()
	return all.Wait()
}

// device says one line when it has seen all others, and stays so that they can see it.
func device(ctx context.Context, n int) error {
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	// More interfaces that are down, as devices have: they must not disturb.
	if err := ip("link set lo up", fmt.Sprintf("addr add 10.77.0.%d/24 dev eth0", n+1), "link set eth0 up",
		"link add eth1 type veth peer name eth2"); err != nil {
		return err
	}
	if n > 0 { // the first one's site has no way out
		if err := ip("route add default via 10.77.0.254"); err != nil {
			return err
		}
	}
	told := false
	return discovery.Run(ctx, discovery.Options{
		Fleet: "namespaces", Port: ports + n, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}, func(all []netip.AddrPort) {
		others := 0
		for o := range devices {
			want := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(o + 1)}), uint16(ports+o))
			for _, at := range all {
				if at == want && o != n {
					others++
				}
			}
		}
		if others == devices-1 && !told {
			told = true
			fmt.Println(n, "sees", all)
		}
	})
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
