// Command waxwing-agent runs on a device. See package agent for its configuration.
//
//	waxwing-agent enroll --server URL --token T --data DIR     gets an identity and writes DIR/agent.json
//	waxwing-agent run --config FILE [--depot]                  does the device's work, or keeps releases for its site
//	waxwing-agent status [--config FILE] [-o json]             what it does now
//	waxwing-agent doctor [--config FILE] [-o json]             what is wrong, and what to do
//
// Exit status: 0 well, 1 failed (doctor: something is broken), 2 wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker.
var version = "dev"

// A device has little memory, and the agent little garbage: collect early rather than grow. The limit is what Go itself
// holds; the program's own pages, some 11 MiB, come on top.
const (
	gcPercent   = 50
	memoryLimit = 13 << 20
)

const usage = `waxwing-agent: updates this device.

  waxwing-agent enroll --server URL --token T --data DIR   become a device of a fleet; see enroll --help
  waxwing-agent run --config FILE [--depot]                run the device; as a depot it installs nothing, keeps the
                                                           releases of its groups and serves them to its site
  waxwing-agent status [--config FILE] [-o json]           what it does now
  waxwing-agent doctor [--config FILE] [-o json]           examine it; each line says what to do
  waxwing-agent --version

The configuration is FILE, else $WAXWING_AGENT_CONFIG, else ` + defaultConfig + `. Its fields:

  device, hardware, fleet     who this is; set by enroll
  server, brokers             https://host:port, ["tls://host:port"]
  slots                       {"a": "/dev/…", "b": "/dev/…"}: the two partitions
  boot                        {"kind": "uboot"} or {"kind": "envfile", "path": FILE}
  reboot                      command, default ["systemctl", "reboot"]; ["exec"]: a virtual device
  probes                      [{"name": "app", "command": ["sh", "-c", "…"], "timeout_seconds": 5},
                               {"name": "web", "http": "http://127.0.0.1/health"}, {"name": "cloud", "mqtt": true}]
                              all must pass before a new release stays; none: the server must be reached
  mesh                        {"interfaces": ["eth0"], "listen": ":0", "off": false}: neighbours on the LAN;
                              "unlisted": true: unknown to the server; "link": "wired", "wifi", "cellular" or "battery"
  depot                       true, or {"space": MiB}: always run as a depot; space is 8192 if not said. Slots, boot, reboot
                              and probes are not needed then. Enrol it with --depot, so that no rollout waits for it
  site                        name of the site that shares an uplink (the devices behind one public address)
  poll_seconds                how often to ask by HTTPS while the broker is silent (300)
  keepalive_seconds           of the broker's connection (300)
`

const defaultConfig = "/var/lib/waxwing/agent.json"

func main() { os.Exit(program(os.Args[1:], os.Stdout, os.Stderr)) }

// errUsage says that the command line was wrong; the reason has been printed.
var errUsage = errors.New("usage")

func program(args []string, out, words io.Writer) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) == 0 {
		fmt.Fprint(words, usage)
		return 2
	}
	var err error
	switch args[0] {
	case "--version", "-version", "version":
		fmt.Fprintln(out, "waxwing-agent", version)
	case "--help", "-h", "help":
		fmt.Fprint(out, usage)
	case "enroll":
		err = enroll(ctx, args[1:], out, words)
	case "run":
		err = run(ctx, args[1:], words)
	case "status":
		err = status(args[1:], out, words)
	case "doctor":
		err = doctor(ctx, args[1:], out, words)
	default:
		fmt.Fprintf(words, "waxwing-agent: no command %q\n\n%s", args[0], usage)
		return 2
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, errUnwell):
		return 1
	}
	fmt.Fprintln(words, "waxwing-agent:", err)
	return 1
}

// parse reads flags, and refuses anything after them.
func parse(f *flag.FlagSet, args []string, words io.Writer) error {
	f.SetOutput(words)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if f.NArg() > 0 {
		fmt.Fprintf(words, "waxwing-agent %s: %q is one word too many\n", f.Name(), f.Arg(0))
		return errUsage
	}
	return nil
}

func configFlag(f *flag.FlagSet) *string {
	path := os.Getenv("WAXWING_AGENT_CONFIG")
	if path == "" {
		path = defaultConfig
	}
	return f.String("config", path, "the configuration, `FILE`")
}
