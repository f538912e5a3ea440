// Command bench measures updates of real images by Waxwing and by the tools one would use instead, side by side.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/waxwing-ota/waxwing/examples/bench"
	"github.com/waxwing-ota/waxwing/examples/bench/images"
)

func main() {
	if asked, err := bench.Inside(os.Args[1:], os.Stdout); asked {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	cases := f.String("case", strings.Join(images.Names(), ","), "`names` of the cases to measure")
	cache := f.String("cache", "", "`folder` for packages and images, kept for the next run (default: waxwing-bench in the user's cache)")
	bin := f.String("bin", "bin", "`folder` of the program waxwing")
	source := f.String("source", ".", "`folder` of this module's sources, which the case go compiles")
	size := f.Int("size", 512, "`MiB` of the images of Debian packages")
	short := f.Bool("short", false, "images of 128 MiB, speeds measured once")
	runs := f.Int("runs", 3, "`times` that each speed is measured; the median counts")
	speed := f.String("speed", "ext4", "`names` of the cases whose speed is measured")
	memory := f.Int("memory", 4096, "`MiB` of memory that no tool may need")
	only := f.String("only", "", "`parts` of the names of methods to measure, as in Waxwing,xdelta3 (default: all)")
	patience := f.Duration("patience", 10*time.Minute, "`time` that one method may take for one case")
	offline := f.Bool("offline", false, "use Go's toolchain instead of Debian's archive")
	format := f.String("o", "table", "`format` of the report: table or json")
	strict := f.Bool("strict", false, "fail when a bar is missed or a case or tool failed")
	build := f.Bool("build", false, "build the images, print where they are, and end")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *short {
		*size, *runs = 128, 1
	}
	if *runs < 1 || *size < 64 || *format != "table" && *format != "json" || f.NArg() > 0 {
		return errors.New("-runs must be at least 1, -size at least 64, -o table or json, and nothing may follow the flags")
	}
	names := strings.Split(*cases, ",")
	for _, name := range names {
		if !slices.Contains(images.Names(), name) {
			return fmt.Errorf("there is no case %q; there are %s", name, strings.Join(images.Names(), ", "))
		}
	}
	if *cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("%w; name a folder with -cache", err)
		}
		*cache = filepath.Join(user, "waxwing-bench")
	}
	dir, err := filepath.Abs(*cache)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	debug.SetMemoryLimit(memoryLimit)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	workshop := images.New(images.Options{Dir: dir, Size: *size, Source: *source, Offline: *offline, Log: log})
	if *build {
		return show(ctx, workshop, names, out)
	}
	work, err := os.MkdirTemp(dir, "work-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := bench.New(bench.Options{
		Images: workshop, Bin: *bin, Dir: work, Runs: *runs, Speed: strings.Split(*speed, ","), TooMuch: int64(*memory) << 20,
		Only: strings.FieldsFunc(*only, func(r rune) bool { return r == ',' }), Patience: *patience, Log: log,
	})
	report := bench.Report{CPUs: runtime.NumCPU()}
	for _, name := range names {
		r, err := b.Case(ctx, name)
		if err != nil {
			return fmt.Errorf("case %s: %w", name, err)
		}
		report.Cases = append(report.Cases, r)
		if *format == "table" {
			r.Table(out) // as soon as it is there: a run takes long
		}
	}
	if *format == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			return err
		}
	}
	missed, failed := report.Missed()
	if *format == "table" {
		fmt.Fprintf(out, "\n%d bars missed, %d measurements failed\n", missed, failed)
	}
	if *strict && missed+failed > 0 {
		return fmt.Errorf("%d bars missed, %d measurements failed", missed, failed)
	}
	return nil
}

// memoryLimit keeps this program smaller than those that it measures, which start with its peak.
const memoryLimit = 6 << 20

func show(ctx context.Context, workshop *images.Workshop, names []string, out io.Writer) error {
	for _, name := range names {
		pair, err := workshop.Build(ctx, name)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, name, pair.Old, pair.New)
	}
	return nil
}
