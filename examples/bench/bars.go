package bench

import "fmt"

// Bar is a promise about a case. One whose figures could not be had is not met.
type Bar struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"at_least,omitempty"` // the limit is a floor
	Unit    string  `json:"unit,omitempty"`
	Met     bool    `json:"met"`
	Missing string  `json:"missing,omitempty"` // what the value would need
}

// Limits that are no ratios.
const (
	metadata    = 16 // KiB that a web server may send beyond what "release cost" says: signed metadata and the manifest
	applyMemory = 16 // MiB that a device may need above idle
)

// bars judges a result.
func bars(r *Result) []Bar {
	var list []Bar
	switch r.Name {
	case "unrelated":
		list = append(list, bytesBar(r, fullZstd, 1.01))
	case "squashfs":
		list = append(list, bytesBar(r, xdelta, 1.02), bytesBar(r, fullZstd, 1.01))
	default:
		list = append(list, bytesBar(r, xdelta, 0.85), bytesBar(r, casync, 0.2), bytesBar(r, fullZstd, 1.01))
	}
	list = append(list, claim(r))
	memory := Bar{Name: "memory to apply, above idle", Limit: applyMemory, Unit: "MiB"}
	if w := r.method(waxwing); w == nil || w.Waxwing == nil || w.Apply == nil {
		memory.Missing = waxwing
	} else {
		memory.Value = mib(w.Apply.Peak - w.Waxwing.Idle)
	}
	build := Bar{Name: "memory to build, of " + xdelta, Limit: 1}
	if w, x := r.method(waxwing), r.method(xdelta); w == nil || w.Make == nil {
		build.Missing = waxwing
	} else if x == nil || x.Make == nil {
		build.Missing = xdelta
	} else {
		build.Value = float64(w.Make.Peak) / float64(x.Make.Peak)
	}
	list = append(list, memory.judge(), build.judge())
	return append(list, speedBars(r.Speed)...)
}

// bytesBar compares the bytes of Waxwing with those of another method.
func bytesBar(r *Result, other string, limit float64) Bar {
	b := Bar{Name: "bytes, of " + other, Limit: limit}
	w, o := r.method(waxwing), r.method(other)
	switch {
	case w == nil:
		b.Missing = waxwing
	case o == nil || o.Bytes == 0:
		b.Missing = other
	default:
		b.Value = float64(w.Bytes) / float64(o.Bytes)
	}
	return b.judge()
}

// claim compares the bytes that Waxwing says with those that were sent.
func claim(r *Result) Bar {
	b := Bar{Name: "bytes over HTTP beyond what it says", Limit: metadata, Unit: "KiB"}
	if w := r.method(waxwing); w == nil || w.Waxwing == nil {
		b.Missing = waxwing
	} else {
		b.Value = float64(w.Waxwing.Fetched-w.Bytes) / (1 << 10)
	}
	return b.judge()
}

func (b Bar) judge() Bar {
	b.Met = b.Missing == "" && (b.AtLeast && b.Value >= b.Limit || !b.AtLeast && b.Value <= b.Limit)
	return b
}

// String says a bar in a line.
func (b Bar) String() string {
	verdict, sign := "missed", "≤"
	if b.Met {
		verdict = "met"
	}
	if b.AtLeast {
		sign = "≥"
	}
	unit := "×"
	if b.Unit != "" {
		unit = " " + b.Unit
	}
	if b.Missing != "" {
		return fmt.Sprintf("%-7s %s: no figure of %s (bar %s %.4g%s)", verdict, b.Name, b.Missing, sign, b.Limit, unit)
	}
	return fmt.Sprintf("%-7s %s: %.3g%s (bar %s %.4g%s)", verdict, b.Name, b.Value, unit, sign, b.Limit, unit)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func speedBars(s *Speed) []Bar {
	if s == nil {
		return nil
	}
	publish := Bar{Name: "publish, speed of casync", Limit: 2, AtLeast: true}
	assemble := Bar{Name: "assemble, speed of casync", Limit: 2, AtLeast: true}
	copied := Bar{Name: "assemble and verify, time of copy + SHA-256", Limit: 1.3}
	switch {
	case s.PublishCasync == nil || s.AssembleCasync == nil:
		publish.Missing, assemble.Missing = casync, casync
	case s.PublishWaxwing == nil || s.AssembleWaxwing == nil:
		publish.Missing, assemble.Missing = waxwing, waxwing
	default:
		publish.Value = s.PublishCasync.Seconds / s.PublishWaxwing.Seconds
		assemble.Value = s.AssembleCasync.Seconds / s.AssembleWaxwing.Seconds
	}
	if s.AssembleWaxwing == nil || s.Copy == nil {
		copied.Missing = waxwing
	} else {
		copied.Value = s.AssembleWaxwing.Seconds / s.Copy.Seconds()
	}
	return []Bar{publish.judge(), assemble.judge(), copied.judge()}
}
