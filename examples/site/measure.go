package site

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Measure runs one device with the mesh off, then every scenario so many times, and returns the medians. A scenario that
// cannot run here says why.
func Measure(ctx context.Context, o Options, runs int, scenarios ...Scenario) (one *Run, all []Figures, err error) {
	rate, err := ParseRate(o.Rate)
	if err != nil {
		return nil, nil, err
	}
	var alone []*Run
	for i := range runs {
		fmt.Fprintf(o.Words, "one device, mesh off, run %d of %d\n", i+1, runs)
		r, err := play(ctx, o, Scenario{Name: "alone", off: true}, 1)
		if err != nil {
			return nil, nil, fmt.Errorf("one device: %w", err)
		}
		alone = append(alone, r)
	}
	one = middle(alone)
	for _, s := range scenarios {
		if why := s.missing(ctx, o); why != "" {
			all = append(all, Figures{N: o.Devices, Scenario: s.Name, NotRun: why})
			continue
		}
		var done []*Run
		for i := range runs {
			fmt.Fprintf(o.Words, "%s (%s), %d devices, run %d of %d\n", s.Name, s.What, o.Devices, i+1, runs)
			r, err := s.play(ctx, o)
			if err != nil {
				return one, all, fmt.Errorf("%s: %w", s.Name, err)
			}
			fmt.Fprintf(o.Words, "  %.3f copies, %.1f s in place, %.1f s committed\n",
				float64(r.Down)/float64(one.Down), r.InPlace.Seconds(), r.Committed.Seconds())
			done = append(done, r)
		}
		all = append(all, figures(s, o, rate, one.Down, done))
	}
	return one, all, nil
}

// middle returns the run with the median of bytes.
func middle(runs []*Run) *Run {
	var down []int64
	for _, r := range runs {
		down = append(down, r.Down)
	}
	m := median(down)
	for _, r := range runs {
		if r.Down == m {
			return r
		}
	}
	return nil
}

// missing says why a scenario cannot run here.
func (s Scenario) missing(ctx context.Context, o Options) string {
	if s.depot {
		words, _ := exec.CommandContext(ctx, filepath.Join(o.Bin, "waxwing-agent"), "run", "-help").CombinedOutput() // it exits with its help
		if !strings.Contains(string(words), "-depot") {
			return "waxwing-agent has no --depot yet"
		}
	}
	if s.bittorrent {
		for _, name := range []string{"aria2c", "nginx"} {
			if _, err := locate(name); err != nil {
				return err.Error()
			}
		}
	}
	return ""
}

func (s Scenario) play(ctx context.Context, o Options) (*Run, error) {
	if s.bittorrent {
		return playTorrent(ctx, o, s, o.Devices)
	}
	return play(ctx, o, s, o.Devices)
}
