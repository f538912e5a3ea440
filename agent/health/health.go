// Package health asks whether a new release works: commands, HTTP requests, and whether the server has been reached.
//
// All probes must pass before the deadline. A probe that fails is asked again until then, because services take their
// time to start; one that has passed is not asked again. The result names the first probe that did not pass and the end
// of what it said.
//
// A command runs with WAXWING_SLOT, WAXWING_SLOT_PATH and WAXWING_VERSION in its environment, in its own process group,
// which is killed at its timeout. An HTTP probe passes with a status of 200 to 399; redirects are not followed.
package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
)

const (
	defaultTimeout = 10 * time.Second
	defaultEvery   = 2 * time.Second
	maxOutput      = 512
)

// Probe is one question. Exactly one of Command, HTTP, MQTT and Server is set.
type Probe struct {
	Name           string   `json:"name"`
	Command        []string `json:"command,omitempty"` // passes with exit status 0
	HTTP           string   `json:"http,omitempty"`    // a URL
	MQTT           bool     `json:"mqtt,omitempty"`    // the broker has been reached since the start
	Server         bool     `json:"server,omitempty"`  // the server has been reached since the start, by MQTT or HTTPS
	TimeoutSeconds int      `json:"timeout_seconds,omitempty"`
}

// Check refuses a probe that cannot be asked.
func (p Probe) Check() error {
	if err := firmware.CheckName("probe", p.Name); err != nil {
		return err
	}
	kinds := 0
	for _, set := range []bool{len(p.Command) > 0, p.HTTP != "", p.MQTT, p.Server} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return fmt.Errorf("probe %s: exactly one of command, http, mqtt and server must be set", p.Name)
	}
	if p.TimeoutSeconds < 0 || p.TimeoutSeconds > 3600 {
		return fmt.Errorf("probe %s: a timeout of %d seconds is not within 0..3600", p.Name, p.TimeoutSeconds)
	}
	return nil
}

// Options of a run.
type Options struct {
	Probes  []Probe
	Env     []string // beside the process's own
	MQTT    func() bool
	Server  func() bool
	Every   time.Duration // longest pause before a failed probe is asked again; default 2 s
	Timeout time.Duration // of a probe that names none; default 10 s
}

// Failure says which probe did not pass.
type Failure struct {
	Probe    string
	Detail   string
	Deadline bool // it was still being asked when the time was over
}

// Error implements error.
func (f *Failure) Error() string { return fmt.Sprintf("probe %s: %s", f.Probe, f.Detail) }

// Run asks the probes side by side until all have passed (nil), or until ctx ends (a *Failure).
func Run(ctx context.Context, o Options) error {
	if o.Every <= 0 {
		o.Every = defaultEvery
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	failures := make([]*Failure, len(o.Probes))
	var g errgroup.Group
	for i, p := range o.Probes {
		g.Go(func() error {
			failures[i] = o.insist(ctx, p)
			return nil
		})
	}
	_ = g.Wait()
	for _, f := range failures {
		if f != nil {
			return f
		}
	}
	return nil
}

// insist asks one probe until it passes or ctx ends.
func (o Options) insist(ctx context.Context, p Probe) *Failure {
	last := &Failure{Probe: p.Name, Detail: "there was no time to ask it", Deadline: true}
	wait := o.Every / 8 // what is only just starting is asked again soon
	for ctx.Err() == nil {
		err := o.ask(ctx, p)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last.Deadline { // an answer counts more than being cut off
			last = &Failure{Probe: p.Name, Detail: err.Error(), Deadline: ctx.Err() != nil}
		}
		pause := time.NewTimer(wait)
		wait = min(2*wait, o.Every)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
	return last
}

func (o Options) ask(ctx context.Context, p Probe) error {
	timeout := o.Timeout
	if p.TimeoutSeconds > 0 {
		timeout = time.Duration(p.TimeoutSeconds) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case len(p.Command) > 0:
		return command(ctx, p.Command, o.Env, timeout)
	case p.HTTP != "":
		return get(ctx, p.HTTP)
	case p.MQTT:
		if o.MQTT == nil || !o.MQTT() {
			return errors.New("the broker has not been reached since the start")
		}
	case p.Server:
		if o.Server == nil || !o.Server() {
			return errors.New("the server has not been reached since the start")
		}
	}
	return nil
}

func command(ctx context.Context, argv, env []string, timeout time.Duration) error {
	out := new(tail)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a grandchild that left the group may hold the pipe
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("it took over %s", timeout)
	}
	if words := out.String(); words != "" {
		return fmt.Errorf("%w: %s", err, words)
	}
	return err
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer transport.CloseIdleConnections()
	r, err := client.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode >= 200 && r.StatusCode < 400 {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(r.Body, maxOutput)) // the status alone is enough to fail
	return fmt.Errorf("%s answers %s: %s", url, r.Status, bytes.TrimSpace(said))
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-maxOutput):]...)
	if over := len(t.b) - maxOutput; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(strings.ToValidUTF8(string(t.b), "?")) }
