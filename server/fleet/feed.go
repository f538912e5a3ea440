package fleet

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Feed hands over the ids of devices that changed since the last call of Next, each once. A slow reader gets longer
// lists, never a longer queue, and delays nobody.
type Feed struct {
	hub  *hub
	wake chan struct{} // holds one when ids may be there

	mu  sync.Mutex
	ids map[string]struct{}
}

// Next waits for changes and returns the ids, sorted. The error is that of ctx.
func (f *Feed) Next(ctx context.Context) ([]string, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.wake:
		}
		f.mu.Lock()
		ids := slices.Sorted(maps.Keys(f.ids))
		clear(f.ids)
		f.mu.Unlock()
		if len(ids) > 0 {
			return ids, nil
		}
	}
}

// Close ends the feed.
func (f *Feed) Close() {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	delete(f.hub.feeds, f)
}

func (f *Feed) add(ids []string) {
	f.mu.Lock()
	for _, id := range ids {
		f.ids[id] = struct{}{}
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// hub is the feeds of one kind.
type hub struct {
	mu    sync.Mutex
	feeds map[*Feed]struct{}
}

func (h *hub) subscribe() *Feed {
	f := &Feed{hub: h, wake: make(chan struct{}, 1), ids: map[string]struct{}{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.feeds == nil {
		h.feeds = map[*Feed]struct{}{}
	}
	h.feeds[f] = struct{}{}
	return f
}

func (h *hub) publish(ids ...string) {
	if len(ids) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.feeds {
		f.add(ids)
	}
}
