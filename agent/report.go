package agent

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

const (
	progressEvery  = 2 * time.Second
	heartbeatEvery = 12 * time.Hour
	sendTimeout    = 20 * time.Second
	longestRetry   = time.Minute
)

// reporter tells the server the newest state: changes at once, progress now and then. What could not be sent is not
// queued: the next report says all that it said.
type reporter struct {
	agent *Agent

	mu      sync.Mutex
	newest  protocol.Report
	noted   uint64        // how often there was something to tell
	sent    uint64        // noted, as far as the server knows
	urgent  bool          // a change, not only progress
	retry   time.Duration // pause after the last failure; 0: none
	early   time.Time     // not before then, after a failure
	last    time.Time     // when a report was sent
	round   chan struct{} // closed and replaced with each report that was sent
	stopped error         // why Run shall end

	wake chan struct{} // buffer of one
}

func newReporter(a *Agent) *reporter {
	return &reporter{agent: a, wake: make(chan struct{}, 1), round: make(chan struct{})}
}

// note takes the newest state. One that says nothing new is not sent: a device that does nothing is looked at every few
// minutes, and its line may cost money.
func (r *reporter) note(report protocol.Report, urgent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.noted > 0 && !urgent && reflect.DeepEqual(report, r.newest) {
		return
	}
	r.newest, r.urgent = report, r.urgent || urgent
	r.noted++
	r.kick()
}

// again sends the newest state once more, now: the ways to the server have changed.
func (r *reporter) again() { r.later(0) }

// later sends the newest state once more, after a while.
func (r *reporter) later(wait time.Duration) {
	r.mu.Lock()
	if r.noted > 0 {
		r.noted++
		r.urgent, r.retry, r.early = true, 0, time.Now().Add(wait)
	}
	r.mu.Unlock()
	r.kick()
}

func (r *reporter) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// stopWith ends Run with an error.
func (r *reporter) stopWith(err error) {
	r.mu.Lock()
	r.stopped = err
	r.mu.Unlock()
	r.kick()
}

// flush waits until what is noted now is sent, at most for a while.
func (r *reporter) flush(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	r.mu.Lock()
	want := r.noted
	r.mu.Unlock()
	for {
		r.mu.Lock()
		done, round := r.sent >= want, r.round
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-round:
		}
	}
}

// due returns how long to wait until the next report.
func (r *reporter) due(now time.Time) time.Duration {
	switch {
	case r.noted == r.sent:
		return r.last.Add(heartbeatEvery).Sub(now)
	case now.Before(r.early):
		return r.early.Sub(now)
	case r.urgent:
		return 0
	}
	return r.last.Add(progressEvery).Sub(now)
}

func (r *reporter) run(ctx context.Context) error {
	timer := time.NewTimer(heartbeatEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.wake:
		case <-timer.C:
		}
		r.mu.Lock()
		stopped, wait := r.stopped, r.due(time.Now())
		report, noted := r.newest, r.noted
		if wait <= 0 {
			r.urgent = false
		}
		r.mu.Unlock()
		switch {
		case stopped != nil:
			return stopped
		case noted == 0 || wait > 0:
			timer.Reset(max(wait, time.Second/100))
			continue
		}
		r.write(report)
		err := r.send(ctx, report)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.mu.Lock()
		if err == nil {
			r.sent, r.last, r.retry = noted, time.Now(), 0
			close(r.round)
			r.round = make(chan struct{})
		} else {
			r.urgent, r.retry = true, min(max(2*r.retry, time.Second), longestRetry)
			r.early = time.Now().Add(jitter(r.retry))
			r.agent.Log.Debug("a report waits", "error", err)
		}
		wait = r.due(time.Now())
		r.mu.Unlock()
		timer.Reset(max(wait, time.Second/100))
	}
}

// send goes by MQTT if the server is there, else by HTTPS: a broker acknowledges also what nobody will read.
func (r *reporter) send(ctx context.Context, report protocol.Report) error {
	a := r.agent
	seq, err := a.journal.Next()
	if err != nil {
		return err
	}
	report.Seq, report.Time = seq, a.Now().UTC()
	b, err := json.Marshal(report)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if a.broker() {
		if err = a.link.Publish(ctx, b); err == nil {
			return nil
		}
	}
	return errors.Join(err, a.origin.Report(ctx, b))
}

// Status is what status.json says.
type Status struct {
	PID       int             `json:"pid"`
	UpdatedAt time.Time       `json:"updated_at"`
	Broker    bool            `json:"broker"` // connected
	Report    protocol.Report `json:"report"`
}

// write leaves the state for waxwing-agent status. It need not survive a power cut, so nothing is synced.
func (r *reporter) write(report protocol.Report) {
	a := r.agent
	b, err := json.Marshal(Status{PID: os.Getpid(), UpdatedAt: a.Now().UTC(), Broker: a.link.Connected(), Report: report})
	if err != nil {
		return
	}
	path := a.Config.Path(StatusFile)
	if err := os.WriteFile(path+".tmp", append(b, '\n'), 0o644); err != nil {
		a.Log.Debug("no status file", "error", err)
		return
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		a.Log.Debug("no status file", "error", err)
	}
}
