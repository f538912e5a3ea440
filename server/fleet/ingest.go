package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/store"
)

const (
	// MaxReport bounds a report, in bytes. An honest one has about one thousand; a million devices must fit.
	MaxReport = 16 << 10
	maxBatch  = 128 // reports in one transaction
)

// arrival is a report on its way to the store.
type arrival struct {
	state State
	done  chan error // buffered
}

// Ingest takes a device's report: the newest Seq wins, an older or equal one is no error and changes nothing. When it
// returns without an error, what the report says is durable. Reports that arrive together are written together, so one
// write of the disk serves many devices. Errors match ErrReport when the report will never be taken, ErrUnknown or
// ErrRejected when its sender is not of the fleet; after any other error send it again.
func (f *Fleet) Ingest(ctx context.Context, device string, report []byte, address string) error {
	if len(report) > MaxReport {
		return fmt.Errorf("%w: %d bytes, over %d", ErrReport, len(report), MaxReport)
	}
	r, err := protocol.ParseReport(report)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReport, err)
	}
	if r.Device != device {
		return fmt.Errorf("%w: it speaks for %q and was sent by %q", ErrReport, r.Device, device)
	}
	if _, err := f.admission(device); err != nil {
		return err
	}
	f.Seen(device)
	newer, different := f.mirror.news(r)
	if !newer || !different {
		return nil
	}
	news := f.mirror.accuses(r)
	a := &arrival{
		state: State{Report: *r, ReceivedAt: f.now().UTC().Truncate(time.Millisecond), Address: address},
		done:  make(chan error, 1),
	}
	select {
	case f.arrivals <- a:
	case <-f.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-a.done:
		if err == nil {
			f.accused(device, address, news)
		}
		return err
	case <-f.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writeReports writes all that has arrived while the write before was under way, so batches grow with the load and a
// lone report waits for nothing.
func (f *Fleet) writeReports(ctx context.Context) error {
	for {
		var batch []*arrival
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a := <-f.arrivals:
			batch = append(batch, a)
		}
	gather:
		for len(batch) < maxBatch {
			select {
			case a := <-f.arrivals:
				batch = append(batch, a)
			default:
				break gather
			}
		}
		err := f.writeBatch(ctx, batch)
		for _, a := range batch {
			a.done <- err
		}
	}
}

func (f *Fleet) writeBatch(ctx context.Context, batch []*arrival) error {
	newest := make(map[string]State, len(batch))
	for _, a := range batch {
		id := a.state.Report.Device
		if old, ok := newest[id]; (!ok || old.Report.Seq < a.state.Report.Seq) && !f.mirror.stale(&a.state.Report) {
			newest[id] = a.state
		}
	}
	b := store.NewBatch(f.store)
	for id, state := range newest {
		if err := f.states.PutIn(b, id, state); err != nil {
			return err
		}
	}
	// A batch of the largest reports is more than one transaction; the revision of the last is then given to all, and
	// the watch, whose revisions are lower for the first ones, has nothing newer to say about them.
	revision, err := b.CommitAt(ctx)
	if err != nil {
		return fmt.Errorf("store reports: %w", err)
	}
	written := make([]store.Entry[State], 0, len(newest))
	for id, state := range newest {
		written = append(written, store.Entry[State]{Key: id, Value: state, Revision: revision})
	}
	f.mirror.putStates(written...)
	return nil
}

// stale reports whether a newer report was stored while this one waited.
func (m *mirror) stale(r *protocol.Report) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	known := m.devices[r.Device]
	return known != nil && known.stateRevision > 0 && r.Seq <= known.seq
}

// Seen notes that a device was heard of, in memory.
func (f *Fleet) Seen(device string) { f.mirror.touch(device, f.now(), nil) }

// Presence notes that a device's connection to the broker began or ended, in memory.
func (f *Fleet) Presence(device string, online bool) { f.mirror.touch(device, f.now(), &online) }
