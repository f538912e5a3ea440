// Command bench-site measures what a rollout costs a site; see package site. It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/waxwing-ota/waxwing/examples/site"
)

func main() {
	o := site.Options{Words: os.Stderr}
	flag.StringVar(&o.Bin, "bin", "bin", "`folder` with the programs of Waxwing, and hostile")
	flag.IntVar(&o.Devices, "n", 20, "devices")
	flag.StringVar(&o.Rate, "rate", "20mbit", "of the uplink in each direction, as tc writes it")
	flag.Int64Var(&o.Bytes, "bytes", 16<<20, "of the image, none of which a device has")
	flag.DurationVar(&o.Spread, "spread", time.Minute, "from the first device to the last, in the scenario spread")
	flag.StringVar(&o.Dir, "dir", "", "`folder` for a temporary one with the devices in it (default in memory)")
	flag.StringVar(&o.Logs, "logs", "", "keep the programs' words in this `folder`")
	runs := flag.Int("runs", 3, "of each scenario; medians are printed")
	names := flag.String("scenario", "together", "`names`, separated by commas, or all: "+known())
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, o, *runs, *names)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-site:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, o site.Options, runs int, names string) error {
	if os.Getuid() != 0 {
		return errors.New("a site is made of network namespaces, and those need root: sudo make bench-site")
	}
	scenarios, err := site.Choose(names)
	if err != nil {
		return err
	}
	if o.Devices < 1 || o.Bytes < 1<<20 || runs < 1 {
		return errors.New("at least one device, one run and 1 MiB are needed")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		fmt.Fprintln(os.Stderr, "without nft (Debian's nftables) the server sees each device's own address, as no router hides them")
	} else {
		o.NAT = true
	}
	one, all, err := site.Measure(ctx, o, runs, scenarios...)
	if one != nil && len(all) > 0 { // what was measured before something failed counts
		err = errors.Join(site.Print(os.Stdout, one, all), err)
	}
	return err
}

func known() (out string) {
	for i, s := range site.Scenarios() {
		if i > 0 {
			out += ", "
		}
		out += s.Name
	}
	return out
}
