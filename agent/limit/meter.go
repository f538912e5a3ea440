package limit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
)

const (
	promised  = 16       // the part of a limit that is promised on disk at once
	maxRecord = 16 << 10 // bytes
)

// Options of a Meter.
type Options struct {
	Of      string // what is limited, such as "the uplink"
	Limit   Limit
	File    string // where the bytes of the last hour are kept
	Now     func() time.Time
	Changed func() // what Holds says has changed; it must not block. Nil: nobody asks
	Log     *slog.Logger
}

// Meter is a ledger on disk. It is safe for concurrent use; a nil Meter limits nothing.
type Meter struct {
	o Options

	mu     sync.Mutex
	ledger *Ledger
	left   int64 // of the promise on disk
	told   Why   // of the last refusal, until it has ended
	failed bool  // to store, and said so
}

// Error says that a limit holds something back.
type Error struct {
	Of string
	Refusal
}

// Error implements error.
func (e *Error) Error() string { return e.Text(e.Of) }

// Again returns when it is worth to ask again.
func (e *Error) Again() time.Time { return e.Until }

// record is the file.
type record struct {
	Minutes [][2]int64 `json:"minutes"` // since 1970, and bytes
	Ahead   int64      `json:"ahead"`   // bytes that may have moved since
}

// Open reads what moved in the last hour. A limit that limits nothing needs no meter: nil.
func Open(o Options) *Meter {
	if o.Limit.Zero() {
		return nil
	}
	m := &Meter{o: o, ledger: NewLedger(o.Limit)}
	b, err := atomicfile.Read(o.File, maxRecord)
	if os.IsNotExist(err) {
		return m
	}
	var r record
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil { // how much moved is not known, so it may be all
		o.Log.Warn("what has moved under a limit is not known; an hour is waited for", "limit", o.Of, "error", err)
		r = record{Ahead: o.Limit.BytesPerHour}
	}
	m.ledger.restore(r, o.Now())
	return m
}

// restore takes what was stored, within bounds; what was promised counts as moved now.
func (l *Ledger) restore(r record, now time.Time) {
	if l.limit.BytesPerHour == 0 {
		return
	}
	for _, e := range append(r.Minutes[:min(len(r.Minutes), mostMinutes-1)], [2]int64{now.Unix() / 60, r.Ahead}) {
		if n := min(e[1], l.limit.BytesPerHour); n > 0 {
			l.count(n, time.Unix(e[0]*60, 0))
		}
	}
	l.drop(now)
}

// Take asks for at most n bytes, waits for their turn, and returns the function to say how many have moved. The error is an
// [Error], or of the context.
func (m *Meter) Take(ctx context.Context, n int64) (moved func(int64), err error) {
	if m == nil {
		return func(int64) {}, nil
	}
	wait, r := m.take(n)
	if r != nil {
		return nil, &Error{m.o.Of, *r}
	}
	moved = func(k int64) { m.give(n, k) }
	if wait <= 0 {
		return moved, nil
	}
	turn := time.NewTimer(wait)
	defer turn.Stop()
	select {
	case <-turn.C:
		return moved, nil
	case <-ctx.Done():
		moved(0)
		return nil, ctx.Err()
	}
}

// Await is Take for whoever has nowhere else to go: it waits until the limit allows the bytes.
func (m *Meter) Await(ctx context.Context, n int64) (moved func(int64), err error) {
	for {
		moved, err := m.Take(ctx, n)
		shut, ok := err.(*Error) //nolint:errorlint // Take returns it as it is
		if !ok {
			return moved, err
		}
		// The clock may be set meanwhile, and other transfers may give back what they took.
		again := time.NewTimer(min(max(shut.Until.Sub(m.o.Now()), 10*time.Millisecond), time.Minute))
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil, ctx.Err()
		}
	}
}

// Shut returns why nothing may move now; nil: something may.
func (m *Meter) Shut() *Error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.ledger.Shut(m.o.Now())
	if r == nil {
		m.tell(nil)
		return nil
	}
	return &Error{m.o.Of, *r}
}

// Holds is Shut, when something was refused since.
func (m *Meter) Holds() *Error {
	shut := m.Shut()
	if shut == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.told == "" {
		return nil
	}
	return shut
}

// Close stores what has moved.
func (m *Meter) Close() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.save(0, m.o.Now())
}

func (m *Meter) take(n int64) (time.Duration, *Refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.o.Now()
	wait, r := m.ledger.Take(n, now)
	if r == nil || r.Why != Busy {
		m.tell(r)
	}
	if r != nil {
		return 0, r
	}
	if m.left -= n; m.left < 0 && m.o.Limit.BytesPerHour > 0 {
		m.save(m.o.Limit.BytesPerHour/promised, now)
	}
	return wait, nil
}

func (m *Meter) give(n, moved int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left += n - max(moved, 0) // the promise was for what moves
	m.ledger.Give(n, moved, m.o.Now())
}

// tell lets it be known when what Shut says changes. The lock is held.
func (m *Meter) tell(r *Refusal) {
	var why Why
	if r != nil {
		why = r.Why
	}
	if why == m.told {
		return
	}
	m.told = why
	if r != nil {
		m.o.Log.Info("a limit holds back", "because", r.Text(m.o.Of))
	}
	if m.o.Changed != nil {
		m.o.Changed()
	}
}

// save stores what has moved, and a promise of what may move until it is stored again, beside what is on its way. The lock is
// held.
func (m *Meter) save(ahead int64, now time.Time) {
	if m.o.Limit.BytesPerHour == 0 {
		return
	}
	r := record{Ahead: m.ledger.held + ahead}
	m.ledger.drop(now)
	for _, e := range m.ledger.minutes {
		r.Minutes = append(r.Minutes, [2]int64{e.at, e.bytes})
	}
	b, err := json.Marshal(r)
	if err == nil {
		err = atomicfile.Write(m.o.File, b, 0o600)
	}
	m.left = ahead
	if err != nil && !m.failed {
		m.failed = true
		m.o.Log.Warn("what has moved under a limit is not stored; a restart forgets it", "error", fmt.Errorf("%s: %w", m.o.File, err))
	}
}
