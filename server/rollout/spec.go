package rollout

import (
	"errors"
	"fmt"

	"github.com/waxwing-ota/waxwing/firmware"
)

// ErrSpec says that a Spec asks for something impossible.
var ErrSpec = errors.New("rollout cannot be started")

// Defaults of a Spec.
const (
	defaultSuccessPercent = 90
	defaultDeadline       = 300 // seconds
	defaultFailurePercent = 10
)

// DefaultStages is one device, half of them, all of them.
func DefaultStages() []Stage { return []Stage{{Count: 1}, {Percent: 50}, {Percent: 100}} }

// Complete returns the spec with defaults filled in, or an error that matches ErrSpec and says what to change.
func (s Spec) Complete() (Spec, error) {
	bad := func(format string, a ...any) (Spec, error) {
		return s, fmt.Errorf("%w: %s", ErrSpec, fmt.Sprintf(format, a...))
	}
	if s.Group == "" {
		s.Group = "all"
	}
	for what, name := range map[string]string{"product": s.Product, "version": s.Version, "group": s.Group} {
		if err := firmware.CheckName(what, name); err != nil {
			return bad("%v", err)
		}
	}
	if len(s.Stages) == 0 {
		s.Stages = DefaultStages()
	}
	if len(s.Stages) > 20 {
		return bad("%d stages; 20 is the limit", len(s.Stages))
	}
	stages := make([]Stage, len(s.Stages))
	percent := 0
	for i, g := range s.Stages {
		set := 0
		for _, is := range []bool{g.Percent != 0, g.Count != 0, len(g.Devices) != 0} {
			if is {
				set++
			}
		}
		switch {
		case set != 1:
			return bad("stage %d: give exactly one of percent, count and devices", i+1)
		case g.Percent < 0 || g.Percent > 100 || g.Count < 0:
			return bad("stage %d: %s", i+1, g.Name())
		case g.Percent != 0 && g.Percent < percent:
			return bad("stage %d (%s) is smaller than one before it", i+1, g.Name())
		case g.Gate.SuccessPercent < 0 || g.Gate.SuccessPercent > 100 || g.Gate.SoakSeconds < 0:
			return bad("stage %d: a gate of %d %% after %d s", i+1, g.Gate.SuccessPercent, g.Gate.SoakSeconds)
		}
		percent = max(percent, g.Percent)
		if g.Gate.SuccessPercent == 0 {
			g.Gate.SuccessPercent = defaultSuccessPercent
		}
		stages[i] = g
	}
	s.Stages = stages
	if s.Abort.Failures == 0 && s.Abort.FailurePercent == 0 {
		s.Abort.FailurePercent = defaultFailurePercent
	}
	s.Abort.Failures = max(s.Abort.Failures, 1)
	if s.Abort.FailurePercent < 0 || s.Abort.FailurePercent > 100 {
		return bad("an abort limit of %d %%", s.Abort.FailurePercent)
	}
	if s.Health.DeadlineSeconds == 0 {
		s.Health.DeadlineSeconds = defaultDeadline
	}
	if d := s.Health.DeadlineSeconds; d < 1 || d > 24*3600 {
		return bad("a health deadline of %d seconds; 1 to 86400 is possible", d)
	}
	return s, nil
}

// Name says what a stage holds, for people: "1 device", "50 %".
func (s Stage) Name() string {
	switch {
	case s.Percent != 0:
		return fmt.Sprintf("%d %%", s.Percent)
	case len(s.Devices) == 1:
		return s.Devices[0]
	case len(s.Devices) > 1:
		return fmt.Sprintf("%d by name", len(s.Devices))
	case s.Count == 1:
		return "1 device"
	}
	return fmt.Sprintf("%d devices", s.Count)
}
