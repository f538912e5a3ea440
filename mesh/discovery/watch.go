package discovery

import (
	"context"
	"maps"
	"slices"
	"time"
)

const (
	settle   = 200 * time.Millisecond // changes come in groups
	pollTime = time.Minute
)

// watch says which networks there are, at first and whenever that changes. Hints say when to look; without them, and in
// case one was missed, it looks each minute.
func watch(ctx context.Context, o Options, changes chan<- map[string]network) error {
	hints := make(chan struct{}, 1)
	stop, err := hint(ctx, hints)
	if err != nil {
		o.Log.Debug("changes of links are seen within a minute only", "err", err)
	}
	defer stop()
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	var last []string
	for {
		now := networks(o.Interfaces)
		if keys := slices.Sorted(maps.Keys(now)); last == nil || !slices.Equal(keys, last) {
			last = append([]string{}, keys...)
			select {
			case changes <- now:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		case <-hints:
			pause(ctx, settle)
		}
	}
}
