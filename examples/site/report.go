package site

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Figures are the medians of a scenario's runs, as the last line of the bench says them.
type Figures struct {
	N           int     `json:"n"`
	Rate        int64   `json:"rate_bit_s"`
	One         int64   `json:"one_device_bytes"`
	Uplink      int64   `json:"uplink_bytes"`
	UplinkRatio float64 `json:"uplink_ratio"`
	Seconds     float64 `json:"seconds"` // until every chunk is in place everywhere
	Ideal       float64 `json:"ideal_seconds"`
	RSSMax      int64   `json:"rss_max_bytes"`

	Scenario  string   `json:"scenario"`
	Runs      int      `json:"runs"`
	Finished  int      `json:"finished"`                 // devices; not those that were killed or hostile
	Spread    float64  `json:"spread_seconds,omitempty"` // in which devices were switched on
	Committed float64  `json:"committed_seconds"`
	Up        int64    `json:"uplink_up_bytes"`
	SentMax   int64    `json:"peer_bytes_max"` // that a device sent
	SentMean  int64    `json:"peer_bytes_mean"`
	CPUMax    float64  `json:"cpu_seconds_max"` // of an agent
	CPUMean   float64  `json:"cpu_seconds_mean"`
	TCPMax    int64    `json:"connections_max"`            // of an agent, with neighbours and the server, in and out
	Busy      float64  `json:"machine_busy"`               // part of its processors; near 1 the machine is what was measured
	Stocked   int64    `json:"depot_bytes,omitempty"`      // over the uplink before, for the depot
	Hostile   int      `json:"hostile,omitempty"`          // devices
	Reported  int      `json:"hostile_reported,omitempty"` // that others accuse at the server
	Slandered int      `json:"slandered,omitempty"`        // and those whom they accuse wrongly
	Misses    []string `json:"misses,omitempty"`           // bars that were not met
	NotRun    string   `json:"not_run,omitempty"`          // why

	judged bool // there are bars
}

// figures makes medians.
func figures(s Scenario, o Options, rate, one int64, runs []*Run) Figures {
	f := Figures{N: o.Devices, Rate: rate, One: one, Scenario: s.Name, Runs: len(runs), Ideal: float64(one*8) / float64(rate)}
	if s.spread {
		f.Spread = o.Spread.Seconds()
	}
	of := func(value func(*Run) float64) float64 {
		var all []float64
		for _, r := range runs {
			all = append(all, value(r))
		}
		return median(all)
	}
	f.Uplink = int64(of(func(r *Run) float64 { return float64(r.Down) }))
	f.Up = int64(of(func(r *Run) float64 { return float64(r.Up) }))
	f.UplinkRatio = round(float64(f.Uplink) / float64(one))
	f.Seconds = round(of(func(r *Run) float64 { return r.InPlace.Seconds() }))
	f.Committed = round(of(func(r *Run) float64 { return r.Committed.Seconds() }))
	f.Ideal = round(f.Ideal)
	f.Finished = int(of(func(r *Run) float64 { return float64(r.Devices) }))
	f.SentMax = int64(of(func(r *Run) float64 { return largest(r.Sent) }))
	f.SentMean = int64(of(func(r *Run) float64 { return mean(r.Sent) }))
	f.CPUMax = round(of(func(r *Run) float64 { return time.Duration(largest(r.CPU)).Seconds() }))
	f.CPUMean = round(of(func(r *Run) float64 { return time.Duration(mean(r.CPU)).Seconds() }))
	f.RSSMax = int64(of(func(r *Run) float64 { return largest(r.RSS) }))
	f.TCPMax = int64(of(func(r *Run) float64 { return largest(r.TCP) }))
	f.Busy = round(of(func(r *Run) float64 { return r.Busy }))
	f.Stocked = int64(of(func(r *Run) float64 { return float64(r.Stocked) }))
	f.Hostile = int(of(func(r *Run) float64 { return float64(r.Hostile) }))
	f.Reported = int(of(func(r *Run) float64 { return float64(r.Reported) }))
	f.Slandered = int(of(func(r *Run) float64 { return float64(r.Slandered) }))
	f.Misses, f.judged = f.judge(s), s.copies > 0 || s.late > 0
	return f
}

// judge says which bars are not met.
func (f Figures) judge(s Scenario) (misses []string) {
	if s.copies > 0 {
		if limit := int64(s.copies*float64(f.One)) + int64(f.N)*perDevice; f.Uplink > limit {
			misses = append(misses, fmt.Sprintf("uplink: %d bytes, over %d (%.2f copies and 32 KiB a device)", f.Uplink, limit, s.copies))
		}
	}
	if s.late > 0 {
		if limit := f.Spread + s.late*f.Ideal + lateMost; f.Seconds > limit {
			misses = append(misses, fmt.Sprintf("time: %.1f s, over %.1f s (%.1f times the ideal and %.0f s)", f.Seconds, limit, s.late, f.Spread+lateMost))
		}
	}
	return misses
}

// row writes the figures as one line of a table.
func (f Figures) row(w io.Writer) {
	if f.NotRun != "" {
		fmt.Fprintf(w, "%s\t%d\t%s\n", f.Scenario, f.N, f.NotRun)
		return
	}
	bars := "met"
	switch {
	case len(f.Misses) > 0:
		bars = "MISSED"
	case !f.judged:
		bars = "none"
	}
	fmt.Fprintf(w, "%s\t%d\t%.2f MB\t%.3f\t%.1f s\t%.2f\t%.1f s\t%.1f / %.1f MB\t%.1f / %.1f s\t%.1f MB\t%d\t%.0f %%\t%s\n",
		f.Scenario, f.N, float64(f.Uplink)/1e6, f.UplinkRatio, f.Seconds, f.Seconds/f.Ideal, f.Committed,
		float64(f.SentMax)/1e6, float64(f.SentMean)/1e6, f.CPUMax, f.CPUMean, float64(f.RSSMax)/1e6, f.TCPMax, 100*f.Busy,
		bars)
}

// Print writes everything for people, and the last line for programs: the first scenario's figures, with all of them.
func Print(w io.Writer, one *Run, all []Figures) error {
	if len(all) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nOne device with the mesh off: %.2f MB down, %.2f MB up; %.1f s until in place, %.1f s until committed; ideally %.1f s.\n\n",
		float64(one.Down)/1e6, float64(one.Up)/1e6, one.InPlace.Seconds(), one.Committed.Seconds(), all[0].Ideal)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "scenario\tN\tuplink\tcopies\tin place\t÷ ideal\tcommitted\tfrom a device, max / mean\tCPU, max / mean\tmemory, max\tconnections\tmachine busy\tbars")
	for _, f := range all {
		f.row(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range all {
		if f.Stocked > 0 {
			fmt.Fprintf(w, "%s, N=%d: before that %.2f MB for the depot, %.3f copies\n", f.Scenario, f.N, float64(f.Stocked)/1e6, float64(f.Stocked)/float64(f.One))
		}
		if f.Hostile > 0 || f.Slandered > 0 {
			fmt.Fprintf(w, "%s, N=%d: of %d hostile devices %d were reported, and %d others wrongly\n", f.Scenario, f.N, f.Hostile, f.Reported, f.Slandered)
		}
		for _, miss := range f.Misses {
			fmt.Fprintf(w, "%s, N=%d: %s\n", f.Scenario, f.N, miss)
		}
	}
	fmt.Fprintln(w)
	last := struct {
		Figures
		Scenarios []Figures `json:"scenarios,omitempty"`
	}{Figures: all[0]}
	if len(all) > 1 {
		last.Scenarios = all
	}
	return json.NewEncoder(w).Encode(last)
}

// ParseRate reads a rate as tc writes it, in bits a second.
func ParseRate(s string) (int64, error) {
	number, unit := s, int64(1)
	for suffix, factor := range map[string]int64{"kbit": 1e3, "mbit": 1e6, "gbit": 1e9} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = rest, factor
		}
	}
	if unit == 1 {
		number = strings.TrimSuffix(s, "bit")
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || n > 100e9/unit {
		return 0, fmt.Errorf("%q is no rate; write it as 20mbit", s)
	}
	return n * unit, nil
}

func median[T cmp.Ordered](all []T) T {
	var none T
	if len(all) == 0 {
		return none
	}
	all = slices.Sorted(slices.Values(all))
	return all[(len(all)-1)/2]
}

type number interface{ ~int64 }

func largest[T number](all []T) float64 {
	var most T
	for _, v := range all {
		most = max(most, v)
	}
	return float64(most)
}

func mean[T number](all []T) float64 {
	if len(all) == 0 {
		return 0
	}
	var sum T
	for _, v := range all {
		sum += v
	}
	return float64(sum) / float64(len(all))
}

// round keeps what a figure is good for.
func round(f float64) float64 { return float64(int64(f*1e4+0.5)) / 1e4 }
