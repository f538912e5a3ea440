package protocol

import (
	"fmt"
	"time"
)

// Bounds of limits.
const (
	MaxLimits      = 4   // in a Report
	maxLimitCode   = 32  // bytes
	maxLimitDetail = 200 // bytes
)

// Limit is one of a device's configuration that holds something back now.
type Limit struct {
	Of     string    `json:"of"`     // what is limited: a code
	Why    string    `json:"why"`    // a code
	Until  time.Time `json:"until"`  // by the device's clock
	Detail string    `json:"detail"` // a sentence
}

// What is limited. A device may say others.
const (
	LimitUplink = "uplink" // chunks and patches from the server
	LimitLAN    = "lan"    // and to neighbours
)

// boundLimits drops what is too much.
func (r *Report) boundLimits() error {
	r.Limits = r.Limits[:min(len(r.Limits), MaxLimits)]
	for i := range r.Limits {
		l := &r.Limits[i]
		if len(l.Of) > maxLimitCode || len(l.Why) > maxLimitCode {
			return fmt.Errorf("a limit's codes have %d and %d characters", len(l.Of), len(l.Why))
		}
		l.Detail = l.Detail[:min(len(l.Detail), maxLimitDetail)]
	}
	return nil
}
