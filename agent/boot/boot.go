// Package boot talks to the boot loader: which slot runs, which one to try next, whether to keep it.
//
// The words are RAUC's, and so are the variables of the back ends, because boards already speak them: BOOT_ORDER lists
// the slots to try, BOOT_A_LEFT counts the starts that slot A has left. The loader takes the first slot in order with
// starts left and takes one off; a slot that is marked good gets them back.
//
//	ArmTrial("b", 3)    order B A, three starts for B       then reboot; the loader counts
//	Trial() == "b"      B runs and nobody has judged it yet
//	MarkGood("b")       B stays                             or MarkBad("b"): no starts left, last in order
//
// One variable is Waxwing's own, WAXWING_TRIAL: the slot that is on trial. It is set and cleared in the same write as the
// others, so a slot is on trial exactly between ArmTrial and the judgement.
//
// envfile keeps the variables in a file, with the loader's part done by the agent itself (virtual devices, and boards
// whose loader reads such a file). uboot reaches them by fw_printenv and fw_setenv. boottest is the suite that every back
// end passes.
package boot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Loader is a boot loader. Slots are named by lower-case words, "a" and "b" as a rule.
type Loader interface {
	// Active returns the slot that runs.
	Active(ctx context.Context) (slot string, err error)
	// Trial returns the slot on trial, running or not; empty: none.
	Trial(ctx context.Context) (slot string, err error)
	// ArmTrial makes the loader start the slot next, at most tries times until it is marked good. It is durable on return.
	ArmTrial(ctx context.Context, slot string, tries int) error
	// MarkGood keeps the slot first and gives its starts back. It ends a trial.
	MarkGood(ctx context.Context, slot string) error
	// MarkBad takes all starts from the slot and makes the other one first. It ends a trial.
	MarkBad(ctx context.Context, slot string) error
}

// Names of the variables, and the starts of a good slot.
const (
	VarOrder = "BOOT_ORDER"
	VarTrial = "WAXWING_TRIAL"
	Starts   = 3
)

// ErrNoSlot says that a slot is not one of the loader's.
var ErrNoSlot = errors.New("no such slot")

// VarLeft names the variable that counts the starts left.
func VarLeft(slot string) string { return "BOOT_" + strings.ToUpper(slot) + "_LEFT" }

// Vars are the variables by name.
type Vars map[string]string

// Fresh returns the variables of a device on which the first of the slots runs.
func Fresh(slots ...string) Vars {
	v := Vars{VarOrder: strings.ToUpper(strings.Join(slots, " ")), VarTrial: ""}
	for _, s := range slots {
		v[VarLeft(s)] = strconv.Itoa(Starts)
	}
	return v
}

// Order returns the slots in the order in which the loader tries them.
func (v Vars) Order() []string { return strings.Fields(strings.ToLower(v[VarOrder])) }

// Left returns the starts that a slot has left; a missing or unreadable count is none. U-Boot counts in hex.
func (v Vars) Left(slot string) int {
	n, err := strconv.ParseUint(v[VarLeft(slot)], 16, 8)
	if err != nil {
		return 0
	}
	return int(n)
}

// Trial returns the slot on trial.
func (v Vars) Trial() string { return strings.ToLower(v[VarTrial]) }

// Arm returns the changes by which the loader tries a slot next.
func (v Vars) Arm(slot string, tries int) (Vars, error) {
	if tries < 1 || tries > 9 {
		return nil, fmt.Errorf("arm slot %s: %d starts are not within 1..9", slot, tries)
	}
	return v.change(slot, true, tries, slot)
}

// Good returns the changes that keep a slot.
func (v Vars) Good(slot string) (Vars, error) { return v.change(slot, true, Starts, "") }

// Bad returns the changes that make a slot the last resort without starts.
func (v Vars) Bad(slot string) (Vars, error) { return v.change(slot, false, 0, "") }

// change moves a slot to the front or the end of the order. Changes that change nothing are left out, so that a device
// in peace does not wear its flash.
func (v Vars) change(slot string, first bool, left int, trial string) (Vars, error) {
	order := v.Order()
	i := slices.Index(order, slot)
	if i < 0 {
		return nil, fmt.Errorf("slot %q: %w: %s is %q", slot, ErrNoSlot, VarOrder, v[VarOrder])
	}
	order = slices.Delete(order, i, i+1)
	if first {
		order = slices.Insert(order, 0, slot)
	} else {
		order = append(order, slot)
	}
	want := Vars{
		VarOrder: strings.ToUpper(strings.Join(order, " ")), VarLeft(slot): strconv.Itoa(left),
		VarTrial: strings.ToUpper(trial),
	}
	maps.DeleteFunc(want, func(name, value string) bool { return v[name] == value })
	return want, nil
}

// Start is the loader's part: it picks the first slot in order with starts left and returns it with the changes to store
// before it runs. When no slot has any, all get them back, as RAUC's script for U-Boot does: a machine that tries is
// better than one that does not.
func (v Vars) Start() (slot string, changes Vars, err error) {
	order := v.Order()
	if len(order) == 0 {
		return "", nil, fmt.Errorf("%s is empty: there is nothing to start", VarOrder)
	}
	changes = Vars{}
	left := v.Left
	i := slices.IndexFunc(order, func(s string) bool { return left(s) > 0 })
	if i < 0 {
		i = 0
		left = func(string) int { return Starts }
		for _, s := range order {
			changes[VarLeft(s)] = strconv.Itoa(Starts)
		}
	}
	slot = order[i]
	changes[VarLeft(slot)] = strconv.FormatInt(int64(left(slot)-1), 16)
	if t := v.Trial(); t != "" && t != slot { // the trial is over: it used up its starts
		changes[VarTrial] = ""
	}
	return slot, changes, nil
}

// Other returns the slot beside the one that runs, of exactly two.
func Other(slots []string, active string) (string, error) {
	if len(slots) == 2 && slices.Contains(slots, active) {
		if slots[0] == active {
			return slots[1], nil
		}
		return slots[0], nil
	}
	return "", fmt.Errorf("slot %q beside %q: %w", active, slots, ErrNoSlot)
}

// FromCommandLine finds the running slot in the kernel's command line: waxwing.slot= or rauc.slot=.
func FromCommandLine(line string) (string, error) {
	for _, word := range strings.Fields(line) {
		for _, key := range []string{"waxwing.slot=", "rauc.slot="} {
			if slot, ok := strings.CutPrefix(word, key); ok && slot != "" {
				return strings.ToLower(slot), nil
			}
		}
	}
	return "", errors.New("the kernel's command line names no slot; let the boot loader add waxwing.slot= or rauc.slot=")
}
