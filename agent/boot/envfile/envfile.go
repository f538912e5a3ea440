// Package envfile keeps the boot loader's variables in a file, one NAME=value a line, and plays the loader's part.
//
// Every change is a new file, fsynced and renamed over the old one, so a power cut leaves the old or the new variables.
// [PowerOn] is what a loader does at a start; virtual devices call it when they begin to run.
package envfile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"

	"github.com/waxwing-ota/waxwing/agent/boot"
)

const maxSize = 64 << 10

// Loader is a boot.Loader over a file. It is not safe for concurrent use.
type Loader struct {
	path   string
	active string
}

// Open returns the loader of a machine on which slot active runs.
func Open(path, active string) (*Loader, error) {
	if _, err := read(path); err != nil {
		return nil, err
	}
	return &Loader{path: path, active: active}, nil
}

// Create writes the variables of a machine with these slots, of which the first runs.
func Create(path string, slots ...string) error { return write(path, boot.Fresh(slots...)) }

// PowerOn picks the slot to start, counts the start and stores it.
func PowerOn(path string) (slot string, err error) {
	vars, err := read(path)
	if err != nil {
		return "", err
	}
	slot, changes, err := vars.Start()
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	maps.Copy(vars, changes)
	return slot, write(path, vars)
}

// Active implements boot.Loader.
func (l *Loader) Active(context.Context) (string, error) { return l.active, nil }

// Trial implements boot.Loader.
func (l *Loader) Trial(context.Context) (string, error) {
	vars, err := read(l.path)
	return vars.Trial(), err
}

// ArmTrial implements boot.Loader.
func (l *Loader) ArmTrial(_ context.Context, slot string, tries int) error {
	return l.change(func(v boot.Vars) (boot.Vars, error) { return v.Arm(slot, tries) })
}

// MarkGood implements boot.Loader.
func (l *Loader) MarkGood(_ context.Context, slot string) error {
	return l.change(func(v boot.Vars) (boot.Vars, error) { return v.Good(slot) })
}

// MarkBad implements boot.Loader.
func (l *Loader) MarkBad(_ context.Context, slot string) error {
	return l.change(func(v boot.Vars) (boot.Vars, error) { return v.Bad(slot) })
}

// Doctor checks that the file can be read, names these slots, and can be written.
func (l *Loader) Doctor(_ context.Context, slots []string) error {
	vars, err := read(l.path)
	if err != nil {
		return err
	}
	for _, s := range slots {
		if !slices.Contains(vars.Order(), s) {
			return fmt.Errorf("%s: %s is %q and lacks slot %s", l.path, boot.VarOrder, vars[boot.VarOrder], s)
		}
	}
	return write(l.path, vars)
}

func (l *Loader) change(f func(boot.Vars) (boot.Vars, error)) error {
	vars, err := read(l.path)
	if err != nil {
		return err
	}
	changes, err := f(vars)
	if err != nil || len(changes) == 0 {
		return err
	}
	maps.Copy(vars, changes)
	return write(l.path, vars)
}

func read(path string) (boot.Vars, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("boot environment: %w; make it with waxwing-agent enroll --virtual, or set boot.path", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("boot environment: %w", err)
	}
	vars, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("boot environment %s: %w", path, err)
	}
	return vars, nil
}

// Parse reads NAME=value lines; empty lines and those that begin with # are skipped. A name twice, or a line without =,
// is an error: the file may be torn.
func Parse(b []byte) (boot.Vars, error) {
	if len(b) > maxSize {
		return nil, fmt.Errorf("over %d bytes", maxSize)
	}
	vars := boot.Vars{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if _, twice := vars[name]; !ok || name == "" || twice {
			return nil, fmt.Errorf("the line %q is no single NAME=value", line)
		}
		vars[name] = value
	}
	if len(vars.Order()) == 0 {
		return nil, fmt.Errorf("%s is missing or empty", boot.VarOrder)
	}
	return vars, nil
}

func write(path string, vars boot.Vars) error {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(&b, "%s=%s\n", name, vars[name])
	}
	if err := atomicfile.Write(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("boot environment: %w", err)
	}
	return nil
}
