// Package child runs programs and says what they cost: seconds on the wall, and the peak of their memory.
//
// The kernel counts the memory of the parent at the moment of the start into the peak of the child. So what measures must
// itself stay small: heavy work of its own belongs into a child too, for which [Self] starts the same program again.
package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrMissing says that a program is not installed.
var ErrMissing = errors.New("not installed")

// Cost is what a run took.
type Cost struct {
	Seconds float64 `json:"seconds"`
	Peak    int64   `json:"peak_bytes"` // of resident memory, at any moment
}

// Plus is the cost of two runs, one after the other.
func (c Cost) Plus(d Cost) Cost { return Cost{c.Seconds + d.Seconds, max(c.Peak, d.Peak)} }

// Run runs a program to its end. Without success the error holds the end of what it said.
func Run(ctx context.Context, name string, args ...string) (Cost, error) {
	_, cost, err := Output(ctx, name, args...)
	return cost, err
}

// Output is Run that also returns what the program wrote to its standard output.
func Output(ctx context.Context, name string, args ...string) ([]byte, Cost, error) {
	path, err := Find(name)
	if err != nil {
		return nil, Cost{}, err
	}
	return run(exec.CommandContext(ctx, path, args...))
}

// In is Output in a folder, with additions to the environment.
func In(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, Cost, error) {
	path, err := Find(name)
	if err != nil {
		return nil, Cost{}, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	return run(cmd)
}

// Self runs this program again with other arguments.
func Self(ctx context.Context, args ...string) ([]byte, Cost, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, Cost{}, err
	}
	return run(exec.CommandContext(ctx, self, args...))
}

func run(cmd *exec.Cmd) ([]byte, Cost, error) {
	var words tail
	cmd.Stderr, cmd.Env = &words, append(cmd.Environ(), "LC_ALL=C") // what is read should be in one language
	began := time.Now()
	out, err := cmd.Output()
	cost := Cost{Seconds: time.Since(began).Seconds()}
	if cmd.ProcessState != nil {
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			cost.Peak = usage.Maxrss << 10 // Linux counts KiB
		}
	}
	if err != nil {
		return nil, cost, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.TrimSpace(string(words)))
	}
	return out, cost, nil
}

// Find returns where a program is, also where Debian keeps those of root. The error matches ErrMissing.
func Find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, name), nil
		}
	}
	return "", fmt.Errorf("%s is %w", name, ErrMissing)
}

// tail keeps the end of what was written to it.
type tail []byte

const keep = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if extra := len(*t) - keep; extra > 0 {
		*t = append((*t)[:0], (*t)[extra:]...)
	}
	return len(p), nil
}
