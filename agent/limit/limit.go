// Package limit bounds what a device sends or fetches: bytes in any hour, bytes a second, hours of the day.
//
// [Ledger] is the pure core. Bytes are taken before they move and corrected when they have moved, so that in no sixty minutes
// more than the limit moves; they are counted by minutes, each for an hour after it has ended. A ledger that is used up stays
// shut until an eighth of the limit is free again: a device that waits then works for a while, and not for one chunk a
// minute.
//
// [Meter] is a ledger that survives restarts and power cuts. What is taken is promised on disk first, a sixteenth of the
// limit at a time, so a device that loses power counts rather too much than too little and writes little.
//
// A clock that goes back forgets nothing; one that jumps forward by an hour begins anew.
package limit

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/signing/policy"
)

// Bounds of a limit.
const (
	// LeastHour is the least limit of an hour, in bytes: the largest patch must fit.
	LeastHour   = 4 << 20
	leastSecond = 64 << 10
	most        = 1 << 50 // bytes
	mostHours   = 24
)

// Limit is what a configuration says. The zero Limit limits nothing.
type Limit struct {
	BytesPerHour   int64   `json:"bytes_per_hour,omitempty"`   // in any sixty minutes; 0: as many as there are
	BytesPerSecond int64   `json:"bytes_per_second,omitempty"` // on average over a few seconds; 0: as many as there are
	Hours          []Hours `json:"hours,omitempty"`            // of the day, UTC; none: all
}

// Zero reports whether nothing is limited.
func (l Limit) Zero() bool { return l.BytesPerHour == 0 && l.BytesPerSecond == 0 && len(l.Hours) == 0 }

// String says it for people.
func (l Limit) String() string {
	var parts []string
	if l.BytesPerHour > 0 {
		parts = append(parts, Bytes(l.BytesPerHour)+" an hour")
	}
	if l.BytesPerSecond > 0 {
		parts = append(parts, Bytes(l.BytesPerSecond)+" a second")
	}
	if len(l.Hours) > 0 {
		var hours []string
		for _, h := range l.Hours {
			hours = append(hours, h.String())
		}
		parts = append(parts, strings.Join(hours, " and ")+" UTC")
	}
	return strings.Join(parts, ", ")
}

// Check refuses a limit under which nothing could ever move, or that means nothing.
func (l Limit) Check() error {
	var all []error
	if n := l.BytesPerHour; n != 0 && (n < LeastHour || n > most) {
		all = append(all, fmt.Errorf("bytes_per_hour is %d; it is at least %d, as one patch may have so many, or 0 for no limit", n, LeastHour))
	}
	if n := l.BytesPerSecond; n != 0 && (n < leastSecond || n > most) {
		all = append(all, fmt.Errorf("bytes_per_second is %d; it is at least %d, or 0 for no limit", n, leastSecond))
	}
	if len(l.Hours) > mostHours {
		all = append(all, fmt.Errorf("hours: %d spans; %d are enough for a day", len(l.Hours), mostHours))
	}
	return errors.Join(all...)
}

// Open reports whether the hours let bytes move at a time.
func (l Limit) Open(now time.Time) bool {
	return len(l.Hours) == 0 || slices.ContainsFunc(l.Hours, func(h Hours) bool { return h.window().Open(now) })
}

// Opens returns when the hours next let bytes move; now, if they do.
func (l Limit) Opens(now time.Time) time.Time {
	if l.Open(now) {
		return now
	}
	day := now.UTC().Truncate(24 * time.Hour)
	var next time.Time
	for _, h := range l.Hours {
		at := day.Add(time.Duration(h.Start) * time.Minute)
		if at.Before(now) {
			at = at.Add(24 * time.Hour)
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// Hours is a span of the day in UTC, like the window of a policy; it may go over midnight. In JSON it is "22:00-06:00".
type Hours policy.Window

func (h Hours) window() *policy.Window { w := policy.Window(h); return &w }

// String returns what JSON has.
func (h Hours) String() string {
	return fmt.Sprintf("%02d:%02d-%02d:%02d", h.Start/60, h.Start%60, h.End/60, h.End%60)
}

// MarshalJSON implements json.Marshaler.
func (h Hours) MarshalJSON() ([]byte, error) { return json.Marshal(h.String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (h *Hours) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("hours are spans such as \"22:00-06:00\": %w", err)
	}
	from, to, ok := strings.Cut(s, "-")
	start, ok1 := minutes(from)
	end, ok2 := minutes(to)
	end %= 24 * 60
	if !ok || !ok1 || !ok2 || start == 24*60 {
		return fmt.Errorf("hours %.40q: give a span such as \"22:00-06:00\"", s)
	}
	if start == end {
		return fmt.Errorf("hours %q: that is all day or never; leave hours out for all day", s)
	}
	h.Start, h.End = start, end
	return nil
}

// minutes reads "22:00", up to "24:00".
func minutes(s string) (int, bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	hour, err1 := strconv.ParseUint(s[:2], 10, 8)
	minute, err2 := strconv.ParseUint(s[3:], 10, 8)
	n := int(hour)*60 + int(minute)
	return n, err1 == nil && err2 == nil && minute < 60 && n <= 24*60
}

// Bytes writes a number of bytes for people.
func Bytes(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}} {
		if n >= unit.size {
			return strconv.FormatFloat(float64(n/(unit.size/10))/10, 'f', -1, 64) + " " + unit.name
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
