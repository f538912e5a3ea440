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

// watch says which networks there are: at first, whenever that changes, and each minute, in case a hint was missed or one
// could not be used. Hints say when to look.
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
	due := true
	for {
		now := networks(o.Interfaces)
		if keys := slices.Sorted(maps.Keys(now)); due || !slices.Equal(keys, last) {
			last = keys
			select {
			case changes <- now:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		due = false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
			due = true
		case <-hints:
			pause(ctx, settle)
		}
	}
}
