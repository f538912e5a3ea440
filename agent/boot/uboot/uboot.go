// Package uboot reaches the variables of U-Boot by fw_printenv and fw_setenv of u-boot-tools or libubootenv. The board's
// boot script is RAUC's: it walks BOOT_ORDER and counts BOOT_<slot>_LEFT.
//
// All changes of one call go through one `fw_setenv -s -`, which writes the environment once. With a redundant
// environment that is atomic; without one a power cut can lose it, which [Loader.Doctor] cannot see: look into
// /etc/fw_env.config for two lines.
package uboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/agent/boot"
)

const (
	patience  = 30 * time.Second
	maxOutput = 256 << 10
)

// Options of a Loader.
type Options struct {
	Active string // the slot that runs, as the kernel's command line says
	Print  string // default fw_printenv
	Set    string // default fw_setenv
}

// Loader is a boot.Loader over U-Boot's environment. It is not safe for concurrent use.
type Loader struct{ Options }

// New returns the loader.
func New(o Options) *Loader {
	if o.Print == "" {
		o.Print = "fw_printenv"
	}
	if o.Set == "" {
		o.Set = "fw_setenv"
	}
	return &Loader{o}
}

// Active implements boot.Loader.
func (l *Loader) Active(context.Context) (string, error) {
	if l.Options.Active == "" {
		return "", errors.New("the running slot is unknown; let the boot loader add waxwing.slot= to the kernel's command line")
	}
	return l.Options.Active, nil
}

// Trial implements boot.Loader. A trial whose starts are used up has ended when another slot runs.
func (l *Loader) Trial(ctx context.Context) (string, error) {
	vars, err := l.read(ctx)
	if err != nil {
		return "", err
	}
	t := vars.Trial()
	if t != l.Options.Active && vars.Left(t) == 0 { // U-Boot's script does not know of trials and cannot end one
		return "", nil
	}
	return t, nil
}

// ArmTrial implements boot.Loader.
func (l *Loader) ArmTrial(ctx context.Context, slot string, tries int) error {
	return l.change(ctx, func(v boot.Vars) (boot.Vars, error) { return v.Arm(slot, tries) })
}

// MarkGood implements boot.Loader.
func (l *Loader) MarkGood(ctx context.Context, slot string) error {
	return l.change(ctx, func(v boot.Vars) (boot.Vars, error) { return v.Good(slot) })
}

// MarkBad implements boot.Loader.
func (l *Loader) MarkBad(ctx context.Context, slot string) error {
	return l.change(ctx, func(v boot.Vars) (boot.Vars, error) { return v.Bad(slot) })
}

// Doctor checks that the environment can be read, names these slots, and can be written.
func (l *Loader) Doctor(ctx context.Context, slots []string) error {
	vars, err := l.read(ctx)
	if err != nil {
		return err
	}
	for _, s := range slots {
		if !slices.Contains(vars.Order(), s) {
			return fmt.Errorf("%s is %q and lacks slot %s", boot.VarOrder, vars[boot.VarOrder], s)
		}
	}
	return l.write(ctx, boot.Vars{boot.VarTrial: vars[boot.VarTrial]})
}

func (l *Loader) change(ctx context.Context, f func(boot.Vars) (boot.Vars, error)) error {
	vars, err := l.read(ctx)
	if err != nil {
		return err
	}
	changes, err := f(vars)
	if err != nil || len(changes) == 0 {
		return err
	}
	return l.write(ctx, changes)
}

func (l *Loader) read(ctx context.Context) (boot.Vars, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var out, words bytes.Buffer
	cmd := exec.CommandContext(ctx, l.Print)
	cmd.Stdout, cmd.Stderr = &limited{&out}, &limited{&words}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s; install u-boot-tools and check /etc/fw_env.config", l.Print, err, bytes.TrimSpace(words.Bytes()))
	}
	vars := boot.Vars{}
	for line := range strings.Lines(out.String()) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
			vars[name] = value
		}
	}
	return vars, nil
}

// write sends one script to fw_setenv: a name and a value a line; a name alone removes the variable.
func (l *Loader) write(ctx context.Context, changes boot.Vars) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var script, words bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		fmt.Fprintln(&script, strings.TrimSpace(name+" "+changes[name]))
	}
	cmd := exec.CommandContext(ctx, l.Set, "-s", "-")
	cmd.Stdin, cmd.Stderr = &script, &limited{&words}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", l.Set, err, bytes.TrimSpace(words.Bytes()))
	}
	return nil
}

// limited takes what fits and drops the rest.
type limited struct{ b *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.b.Write(p[:min(len(p), maxOutput-min(l.b.Len(), maxOutput))])
	return len(p), nil
}
