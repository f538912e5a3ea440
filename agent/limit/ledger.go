package limit

import (
	"fmt"
	"time"
)

const (
	hour  = time.Hour
	spare = 8 // the part of a limit that must be free before a ledger that was used up opens again
	// longestPace is how long a transfer is put off for the sake of the bytes of a second; beyond that it is refused.
	longestPace = time.Second
	mostMinutes = 128 // that are remembered
)

// Why is the reason of a refusal. It is a stable code.
type Why string

// The reasons there are.
const (
	UsedUp Why = "used-up" // the bytes of the hour
	Busy   Why = "busy"    // the bytes of the second
	Closed Why = "closed"  // the hours
)

// Refusal says that no bytes move, why, and until when.
type Refusal struct {
	Why   Why
	Until time.Time
	Limit Limit
}

// Text says it for people, of something such as "the uplink".
func (r Refusal) Text(of string) string {
	until := r.Until.UTC()
	if rest := until.Truncate(time.Minute); !rest.Equal(until) {
		until = rest.Add(time.Minute)
	}
	at := until.Format("15:04 UTC")
	switch r.Why {
	case UsedUp:
		return fmt.Sprintf("%s's limit of %s an hour is used up until %s", of, Bytes(r.Limit.BytesPerHour), at)
	case Busy:
		return fmt.Sprintf("%s's limit of %s a second is used up for now", of, Bytes(r.Limit.BytesPerSecond))
	}
	return fmt.Sprintf("%s's hours begin again at %s", of, at)
}

// Ledger counts what moves under one limit. It is pure: times are given.
type Ledger struct {
	limit   Limit
	minutes []minute  // ascending, but for what a clock that goes back makes
	held    int64     // bytes that are taken and have not moved yet
	want    int64     // that were refused last
	shut    time.Time // nothing is given before; zero: it is open
	back    time.Time // when the clock was first seen to be behind what is counted; zero: it is not
	free    time.Time // when the bytes of the seconds so far have had their time
}

// minute is the bytes that moved in one.
type minute struct {
	at    int64 // since 1970
	bytes int64
}

// NewLedger returns one in which nothing has moved.
func NewLedger(l Limit) *Ledger { return &Ledger{limit: l} }

// Take asks for n bytes. They count from now on until Give says how many have moved. wait is how long to put the transfer off.
func (l *Ledger) Take(n int64, now time.Time) (wait time.Duration, r *Refusal) {
	if r := l.Shut(now); r != nil {
		return 0, r
	}
	if per := l.limit.BytesPerHour; per > 0 && l.used(now)+n > per {
		l.want = max(n, per/spare)
		l.shut = l.fits(now)
		return 0, l.refuse(UsedUp, l.shut)
	}
	if per := l.limit.BytesPerSecond; per > 0 {
		if wait = l.free.Sub(now); wait > longestPace {
			if wait <= 2*longestPace+lasts(4*LeastHour, per) {
				return 0, l.refuse(Busy, l.free)
			}
			wait = 0 // the clock went back
		}
		wait = max(wait, 0)
		l.free = now.Add(wait + lasts(n, per))
	}
	l.held += n
	return wait, nil
}

// lasts is how long n bytes take at a rate.
func lasts(n, rate int64) time.Duration {
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// Give ends a transfer for which n bytes were taken, of which so many have moved.
func (l *Ledger) Give(n, moved int64, now time.Time) {
	l.held -= n
	if l.limit.BytesPerHour == 0 || moved <= 0 {
		moved = 0
	}
	l.count(moved, now)
	if !l.shut.IsZero() {
		l.shut = l.fits(now)
	}
}

func (l *Ledger) count(n int64, now time.Time) {
	if n == 0 {
		return
	}
	at := now.Unix() / 60
	for i := range l.minutes {
		if l.minutes[i].at == at {
			l.minutes[i].bytes += n
			return
		}
	}
	l.drop(now)
	if len(l.minutes) >= mostMinutes { // clocks that jump about: rather too long than too short
		l.minutes[len(l.minutes)-1].bytes += n
		return
	}
	l.minutes = append(l.minutes, minute{at, n})
}

// Shut returns why nothing may move now; nil: something may. Whether the bytes of a second are used up it does not say.
func (l *Ledger) Shut(now time.Time) *Refusal {
	if at := l.limit.Opens(now); at.After(now) {
		return l.refuse(Closed, at)
	}
	if !l.shut.IsZero() && l.used(now)+l.want > l.limit.BytesPerHour {
		l.shut = l.fits(now)
		return l.refuse(UsedUp, l.shut)
	}
	l.shut = time.Time{}
	return nil
}

func (l *Ledger) refuse(why Why, until time.Time) *Refusal { return &Refusal{why, until, l.limit} }

// used returns what counts now.
func (l *Ledger) used(now time.Time) int64 {
	l.drop(now)
	n := l.held
	for _, m := range l.minutes {
		n += m.bytes
	}
	return n
}

// drop forgets what is an hour old.
func (l *Ledger) drop(now time.Time) {
	ahead := false
	for _, m := range l.minutes {
		ahead = ahead || time.Unix(m.at*60, 0).After(now)
	}
	switch {
	case !ahead:
		l.back = time.Time{}
	case l.back.IsZero() || l.back.After(now):
		l.back = now
	}
	kept := l.minutes[:0]
	for _, m := range l.minutes {
		if l.ends(m, now).After(now) {
			kept = append(kept, m)
		}
	}
	l.minutes = kept
}

// ends returns when a minute counts no more. One of the future, since the clock went back, counts for an hour from then.
func (l *Ledger) ends(m minute, now time.Time) time.Time {
	at := time.Unix(m.at*60, 0)
	if at.After(now) {
		return l.back.Add(hour + time.Minute)
	}
	return at.Add(hour + time.Minute)
}

// fits returns when what is wanted will be free, if nothing else moves. What is on its way counts as if it moved now.
func (l *Ledger) fits(now time.Time) time.Time {
	used, last := l.used(now), now
	for used+l.want > l.limit.BytesPerHour {
		var next time.Time
		for _, m := range l.minutes {
			if end := l.ends(m, now); end.After(last) && (next.IsZero() || end.Before(next)) {
				next = end
			}
		}
		if next.IsZero() { // only what is on its way is left
			return now.Add(hour + time.Minute)
		}
		for _, m := range l.minutes {
			if l.ends(m, now).Equal(next) {
				used -= m.bytes
			}
		}
		last = next
	}
	return last
}
