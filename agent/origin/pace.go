package origin

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// pace cancels a transfer that reads less than its rate in any window.
type pace struct {
	read  atomic.Int64
	timer *time.Timer
	done  chan struct{}
	ended chan struct{}
}

func newPace(cancel context.CancelCauseFunc, rate int64, window time.Duration) *pace {
	p := &pace{timer: time.NewTimer(window), done: make(chan struct{}), ended: make(chan struct{})}
	need := max(int64(float64(rate)*window.Seconds()), 1)
	go func() {
		defer close(p.ended)
		defer p.timer.Stop()
		var before int64
		for {
			select {
			case <-p.done:
				return
			case <-p.timer.C:
			}
			now := p.read.Load()
			if now-before < need {
				cancel(fmt.Errorf("%w: %d bytes in %s", ErrSlow, now-before, window))
				return
			}
			before = now
			p.timer.Reset(window)
		}
	}()
	return p
}

func (p *pace) stop() {
	close(p.done)
	<-p.ended
}

func (p *pace) reader(r io.Reader) io.Reader { return paced{r, p} }

type paced struct {
	io.Reader
	p *pace
}

// Read implements io.Reader.
func (r paced) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.p.read.Add(int64(n))
	return n, err
}
