package site_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/mesh/meshtest/site"
)

// TestMulticast shouts: devices of one subnet hear it, those of another do not, and nobody does where it is not carried.
func TestMulticast(t *testing.T) {
	for name, c := range map[string]struct {
		options site.Options
		heard   []bool // by device; the first one shouts
	}{
		"one LAN":      {site.Options{}, []bool{true, true}},
		"two subnets":  {site.Options{Subnets: 2}, []bool{false, true}},
		"no multicast": {site.Options{NoMulticast: true}, []bool{false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			_, d := newSite(t, c.options, 3)
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			var all errgroup.Group
			for i, want := range c.heard {
				cmd := play(ctx, "hear "+map[bool]string{true: "one", false: "none"}[want])
				in, err := cmd.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := d[i+1].Start(cmd); err != nil {
					t.Fatal(err)
				}
				if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it listens
					t.Fatal(err)
				}
				all.Go(func() error {
					defer in.Close()
					if err := cmd.Wait(); err != nil {
						return fmt.Errorf("device %d: %w", i+1, err)
					}
					return nil
				})
			}
			var targets []string
			for _, d := range d[1:] {
				targets = append(targets, d.Addr.String())
			}
			if err := d[0].Run(play(ctx, "shout "+strings.Join(targets, " "))); err != nil {
				t.Fatal(err)
			}
			if err := all.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

const group = "224.0.0.251:42424"

// hear listens to the group and to its own address. The words by unicast come after those by multicast, so whoever has
// heard the former knows what became of the latter.
func hear(want string) error {
	iface, err := net.InterfaceByName(site.Interface)
	if err != nil {
		return err
	}
	at, _ := net.ResolveUDPAddr("udp4", group)
	l, err := net.ListenMulticastUDP("udp4", iface, at)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	heard := "none"
	b := make([]byte, 64)
	for {
		n, _, err := l.ReadFromUDP(b)
		if err != nil {
			return err
		}
		switch string(b[:n]) {
		case "all":
			heard = "one"
		case "you":
			if heard != want {
				return fmt.Errorf("heard %s by multicast, want %s", heard, want)
			}
			return nil
		}
	}
}

func shout(targets string) error {
	// The bridge's port forwards from the moment on at which the cable is in; ARP and the first packet may be lost still.
	for range 3 {
		if err := send(group, "all"); err != nil {
			return err
		}
	}
	for _, t := range strings.Fields(targets) {
		if err := send(t+":42424", "you"); err != nil {
			return err
		}
	}
	return nil
}

func send(to, words string) error {
	c, err := net.Dial("udp4", to)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(words))
	return err
}
