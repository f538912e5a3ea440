package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/waxwing-ota/waxwing/agent"
)

// errUnwell says that a doctor found something broken, and has said so.
var errUnwell = errors.New("unwell")

// labels is a flag that may be given many times.
type labels map[string]string

// String implements flag.Value.
func (l labels) String() string { return "" }

// Set implements flag.Value.
func (l labels) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return fmt.Errorf("%q is no key=value", s)
	}
	l[key] = value
	return nil
}

func enroll(ctx context.Context, args []string, out, words io.Writer) error {
	e := agent.Enrollment{Labels: labels{}}
	f := flag.NewFlagSet("enroll", flag.ContinueOnError)
	f.StringVar(&e.Server, "server", "", "the device plane, `https://host:port`")
	f.StringVar(&e.Token, "token", "", "an enrolment token; make one with: waxwing token create")
	f.StringVar(&e.Dir, "data", "", "the `folder` of the device, made when missing")
	root := f.String("root", "", "a TUF root.json that came another way, `FILE`; without it the server's is taken")
	f.StringVar(&e.Hardware, "hardware", "", "hardware id; only releases that name it are installed")
	f.StringVar(&e.ID, "id", "", "device id; without it the server makes one of the key")
	f.Var(labels(e.Labels), "label", "`key=value`, as often as needed")
	f.BoolVar(&e.Virtual, "virtual", false, "a device without hardware: slots and boot loader are files in the folder")
	f.Func("interface", "`name` of one to look for neighbours on, as often as needed; without it all, or lo for --virtual", func(s string) error {
		e.Interfaces = append(e.Interfaces, s)
		return nil
	})
	f.BoolVar(&e.Depot, "depot", false, "an always-on box that keeps releases for its site and installs nothing")
	size := f.Int64("slot-size", 256, "`MiB` of each slot of a virtual device")
	if err := parse(f, args, words); err != nil {
		return err
	}
	for name, value := range map[string]string{"--server": e.Server, "--token": e.Token, "--data": e.Dir} {
		if value == "" {
			fmt.Fprintf(words, "waxwing-agent enroll: %s is missing\n", name)
			return errUsage
		}
	}
	if e.Hardware == "" {
		if !e.Virtual && !e.Depot {
			fmt.Fprintln(words, "waxwing-agent enroll: --hardware is missing; releases name the hardware that they fit")
			return errUsage
		}
		e.Hardware = "virtual"
		if e.Depot { // no release names it, so no rollout waits for it
			e.Hardware = "depot"
		}
	}
	e.SlotSize = *size << 20
	if e.SlotSize <= 0 || e.SlotSize > 64<<30 {
		fmt.Fprintln(words, "waxwing-agent enroll: --slot-size is not within 1..65536 MiB")
		return errUsage
	}
	if *root != "" {
		b, err := os.ReadFile(*root)
		if err != nil {
			return err
		}
		e.Root = b
	}
	c, err := agent.Enroll(ctx, e)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, c.Device)
	fmt.Fprintf(words, "enrolled; now: waxwing-agent run --config %s\n", filepath.Join(e.Dir, agent.ConfigFile))
	if !e.Virtual && !e.Depot {
		fmt.Fprintln(words, "check slots and boot in the configuration first: waxwing-agent doctor --config", filepath.Join(e.Dir, agent.ConfigFile))
	}
	return nil
}

func run(ctx context.Context, args []string, words io.Writer) error {
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	path := configFlag(f)
	level := slog.LevelInfo
	f.TextVar(&level, "log-level", level, "debug, info, warn or error")
	depot := f.Bool("depot", false, "nothing is installed: keep the releases of this device's groups, and serve its site;\n"+
		"the same as \"depot\": true in the configuration")
	if err := parse(f, args, words); err != nil {
		return err
	}
	c, err := agent.LoadConfig(*path)
	if err != nil {
		return err
	}
	if *depot && c.Depot == nil {
		c.Depot = &agent.Depot{}
		if c.Mesh.Off {
			return errors.New("mesh.off is set; a depot without neighbours is of no use")
		}
	}
	if c.Depot != nil && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(depotMemory)
	}
	id, err := agent.LoadIdentity(c.Path(""))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(words, &slog.HandlerOptions{Level: level})).With("device", c.Device)
	stdlog.SetFlags(0) // net/http puts there what neighbours and servers send out of turn
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer())
	o := agent.Options{Config: c, Identity: id, Version: version, Log: log}
	if !c.Mesh.Off {
		o.Neighbors = func(from agent.Sources) (agent.Neighbors, error) { return newMesh(c, id, from, log) }
	}
	a, err := agent.New(o)
	if err != nil {
		return err
	}
	err = a.Run(ctx)
	if !errors.Is(err, agent.ErrReboot) {
		return err
	}
	// Whoever asked this process to end meanwhile must not be answered with a new one; from here on such a signal kills.
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was asked to end, so there is no reboot to tell of
	}
	log.Info("reboot")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return fmt.Errorf("start %s again: %w", self, syscall.Exec(self, os.Args, os.Environ()))
}

func status(args []string, out, words io.Writer) error {
	f := flag.NewFlagSet("status", flag.ContinueOnError)
	path := configFlag(f)
	format := f.String("o", "table", "table or json")
	if err := parse(f, args, words); err != nil {
		return err
	}
	c, err := agent.LoadConfig(*path)
	if err != nil {
		return err
	}
	var s struct {
		Running bool `json:"running"` // the agent
		agent.Status
	}
	s.Running = agent.Running(c)
	b, err := os.ReadFile(c.Path(agent.StatusFile))
	if err != nil {
		return fmt.Errorf("%w; the agent has not run yet: waxwing-agent run --config %s", err, *path)
	}
	if err := json.Unmarshal(b, &s.Status); err != nil {
		return fmt.Errorf("%s: %w", agent.StatusFile, err)
	}
	if *format == "json" {
		return json.NewEncoder(out).Encode(s)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	r := s.Report
	agentState := "stopped, last seen " + s.UpdatedAt.Local().Format(time.DateTime)
	if s.Running {
		agentState = fmt.Sprintf("running, pid %d", s.PID)
	}
	release := "not installed by Waxwing"
	if r.Running.Version != "" {
		release = r.Running.Product + " " + r.Running.Version
	}
	fmt.Fprintf(w, "device\t%s\nagent\t%s\nbroker\t%s\n",
		r.Device, agentState, map[bool]string{true: "connected", false: "not connected"}[s.Broker && s.Running])
	if r.Mesh != nil && r.Mesh.Depot != nil {
		keeps(w, r.Mesh.Depot)
	} else {
		fmt.Fprintf(w, "slot\t%s, %s\n", r.Running.Slot, release)
	}
	fmt.Fprintf(w, "neighbours\t%d\n", r.Neighbors)
	if len(r.Isolated) > 0 {
		fmt.Fprintf(w, "isolated\tfrom %s, whose bytes came from the server; do devices reach each other here?\n", strings.Join(r.Isolated, ", "))
	}
	for i, x := range r.Limits {
		fmt.Fprintf(w, "%s\t%s\n", map[bool]string{true: "limits"}[i == 0], x.Detail)
	}
	for i, x := range r.Offences {
		fmt.Fprintf(w, "%s\t%s\n", map[bool]string{true: "offences"}[i == 0], accusation(x))
	}
	if u := r.Update; u != nil {
		fmt.Fprintf(w, "update\t%s %s: %s\n", u.Product, u.Version, u.Phase)
		if u.Reason != "" || u.Detail != "" {
			fmt.Fprintf(w, "\t%s\n", strings.TrimPrefix(string(u.Reason)+": "+u.Detail, ": "))
		}
		if b := u.Bytes; b.Total > 0 {
			fmt.Fprintf(w, "bytes\t%d of %d in place, %d reused, %d from neighbours, %d from the server\n", b.Done, b.Total, b.Reused, b.Peers, b.Origin)
		}
		for i, x := range u.Sources {
			fmt.Fprintf(w, "%s\t%s\n", map[bool]string{true: "from"}[i == 0], cameFrom(x))
		}
	}
	return w.Flush()
}

func doctor(ctx context.Context, args []string, out, words io.Writer) error {
	f := flag.NewFlagSet("doctor", flag.ContinueOnError)
	path := configFlag(f)
	format := f.String("o", "table", "table or json")
	if err := parse(f, args, words); err != nil {
		return err
	}
	findings := agent.Doctor(ctx, *path)
	unwell := false
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, x := range findings {
		unwell = unwell || x.Grade == agent.Fail
		line := x.Detail
		if x.Advice != "" {
			line += " → " + x.Advice
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", x.Grade, x.What, line)
	}
	if *format == "json" {
		if err := json.NewEncoder(out).Encode(findings); err != nil {
			return err
		}
	} else if err := w.Flush(); err != nil {
		return err
	}
	if unwell {
		return errUnwell
	}
	return nil
}
