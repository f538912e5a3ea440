package bench

import (
	"slices"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
)

// Report is the outcome of a run.
type Report struct {
	CPUs  int      `json:"cpus"`
	Cases []Result `json:"cases"`
}

// Result is the outcome of one case.
type Result struct {
	Name    string   `json:"name"`
	Notes   []string `json:"notes,omitempty"`  // what the images hold
	Failed  string   `json:"failed,omitempty"` // why there are no images
	OldSize int64    `json:"old_bytes,omitempty"`
	NewSize int64    `json:"new_bytes,omitempty"`
	Methods []Method `json:"methods,omitempty"`
	Speed   *Speed   `json:"speed,omitempty"`
	Bars    []Bar    `json:"bars,omitempty"`
}

// Method is one way to bring an image from old to new.
type Method struct {
	Name    string      `json:"name"`
	Bytes   int64       `json:"bytes,omitempty"`
	Make    *child.Cost `json:"make,omitempty"`
	Apply   *child.Cost `json:"apply,omitempty"`
	Remark  string      `json:"remark,omitempty"`
	Left    string      `json:"left_out,omitempty"` // why it was not measured
	Failed  string      `json:"failed,omitempty"`
	Waxwing *Waxwing    `json:"waxwing,omitempty"`
}

// Waxwing is what only Waxwing says of itself.
type Waxwing struct {
	Index   int64  `json:"index_bytes"`
	Patch   int64  `json:"patch_bytes"`
	Chunk   int64  `json:"chunk_bytes"`
	Total   int64  `json:"total_bytes"`
	Full    int64  `json:"full_bytes"`
	Fetched int64  `json:"fetched_bytes"`           // what a web server sent for it, metadata included
	Idle    int64  `json:"idle_peak_bytes"`         // peak memory of the program when it does nothing
	Written *int64 `json:"written_bytes,omitempty"` // to the target, if the program says so
}

// Speed compares publishing and assembling; seconds are medians.
type Speed struct {
	Runs            int         `json:"runs"`
	Bytes           int64       `json:"bytes"` // of the image
	PublishCasync   *child.Cost `json:"publish_casync,omitempty"`
	PublishWaxwing  *child.Cost `json:"publish_waxwing,omitempty"`
	AssembleCasync  *child.Cost `json:"assemble_casync,omitempty"`
	AssembleWaxwing *child.Cost `json:"assemble_waxwing,omitempty"`
	Copy            *Copy       `json:"copy,omitempty"`
	Left            []string    `json:"left_out,omitempty"`
}

// Missed counts the bars that were not met, and what could not be measured at all.
func (r *Report) Missed() (bars, failures int) {
	for _, c := range r.Cases {
		if c.Failed != "" {
			failures++
		}
		for _, m := range c.Methods {
			if m.Failed != "" {
				failures++
			}
		}
		for _, b := range c.Bars {
			if !b.Met {
				bars++
			}
		}
	}
	return bars, failures
}

// method returns a method of the result that was measured, or nil.
func (r *Result) method(name string) *Method {
	for i := range r.Methods {
		if m := &r.Methods[i]; m.Name == name && m.Left == "" && m.Failed == "" {
			return m
		}
	}
	return nil
}

// asked says whether a method has a row, measured or not.
func (r *Result) asked(name string) bool {
	return slices.ContainsFunc(r.Methods, func(m Method) bool { return m.Name == name })
}
