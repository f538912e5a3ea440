// Package boottest is the suite that every boot back end passes.
package boottest

import (
	"context"
	"errors"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/boot"
)

// Board is a machine under test.
type Board interface {
	// PowerOn does what the loader does at a start, and returns the slot that it starts.
	PowerOn(t *testing.T) string
	// Loader returns what an agent would use that runs in the slot started last.
	Loader(t *testing.T) boot.Loader
}

// Run tests a back end. fresh makes a machine with slots a and b, of which a is first and both are good.
func Run(t *testing.T, fresh func(t *testing.T) Board) {
	ctx := context.Background()
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	start := func(t *testing.T, b Board, slot, trial string) boot.Loader {
		t.Helper()
		if got := b.PowerOn(t); got != slot {
			t.Fatalf("slot %s starts, not %s", got, slot)
		}
		l := b.Loader(t)
		got, err := l.Active(ctx)
		must(t, err)
		if got != slot {
			t.Fatalf("slot %s is active, not %s", got, slot)
		}
		got, err = l.Trial(ctx)
		must(t, err)
		if got != trial {
			t.Fatalf("slot %q is on trial, not %q", got, trial)
		}
		return l
	}
	t.Run("a good trial stays", func(t *testing.T) {
		b := fresh(t)
		must(t, start(t, b, "a", "").ArmTrial(ctx, "b", 3))
		l := start(t, b, "b", "b")
		must(t, l.MarkGood(ctx, "b"))
		for range 2 * boot.Starts {
			must(t, start(t, b, "b", "").MarkGood(ctx, "b"))
		}
	})
	t.Run("a bad trial goes back", func(t *testing.T) {
		b := fresh(t)
		must(t, start(t, b, "a", "").ArmTrial(ctx, "b", 3))
		must(t, start(t, b, "b", "b").MarkBad(ctx, "b"))
		start(t, b, "a", "")
	})
	t.Run("a silent trial goes back by itself", func(t *testing.T) {
		b := fresh(t)
		must(t, start(t, b, "a", "").ArmTrial(ctx, "b", 2))
		start(t, b, "b", "b")
		start(t, b, "b", "b")
		l := start(t, b, "a", "")
		must(t, l.MarkGood(ctx, "a"))
		must(t, l.ArmTrial(ctx, "b", 1)) // and may be tried again
		start(t, b, "b", "b")
		start(t, b, "a", "")
	})
	t.Run("everything may be said twice", func(t *testing.T) {
		b := fresh(t)
		l := start(t, b, "a", "")
		must(t, l.ArmTrial(ctx, "b", 3))
		must(t, l.ArmTrial(ctx, "b", 3))
		l = start(t, b, "b", "b")
		must(t, l.MarkBad(ctx, "b"))
		must(t, l.MarkBad(ctx, "b"))
		l = start(t, b, "a", "")
		must(t, l.MarkGood(ctx, "a"))
		must(t, l.MarkGood(ctx, "a"))
		start(t, b, "a", "")
	})
	t.Run("restarts alone start one of the slots for ever", func(t *testing.T) {
		b := fresh(t)
		for range 4 * boot.Starts {
			if slot := b.PowerOn(t); slot != "a" && slot != "b" {
				t.Fatalf("slot %q", slot)
			}
		}
	})
	t.Run("unknown slots are refused", func(t *testing.T) {
		b := fresh(t)
		l := start(t, b, "a", "")
		if err := l.ArmTrial(ctx, "c", 3); !errors.Is(err, boot.ErrNoSlot) {
			t.Error(err)
		}
		if err := l.MarkGood(ctx, "c"); !errors.Is(err, boot.ErrNoSlot) {
			t.Error(err)
		}
		start(t, b, "a", "")
	})
}
