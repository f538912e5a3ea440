// Command demo plays the story of examples/fleet in a terminal and keeps the fleet running for a look at its dashboard.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/waxwing-ota/waxwing/examples/fleet"
)

func main() {
	bin := flag.String("bin", "bin", "folder with the programs of Waxwing")
	once := flag.Bool("once", false, "end when the story has ended")
	devices := flag.Int("devices", 8, "how many devices")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := play(ctx, *bin, *devices, *once)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func play(ctx context.Context, bin string, devices int, once bool) (err error) {
	began := time.Now()
	f, err := fleet.Start(ctx, fleet.Options{Bin: bin, Source: ".", Devices: devices, Out: os.Stdout})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	if err := f.Play(ctx); err != nil {
		return err
	}
	fmt.Printf("\nAll of it held, in %.0f s.\n", time.Since(began).Seconds())
	f.Measure(os.Stdout)
	if once {
		return nil
	}
	fmt.Printf("\nThe dashboard: %s/?token=%s\nCtrl-C ends everything.\n", f.URL, f.Token)
	<-ctx.Done()
	return nil
}
