package link

import (
	"context"
	"sync"
)

// maxTopics bounds the inbox: more topics than a device ever listens to.
const maxTopics = maxGroups + 16

// inbox keeps the newest message of each topic until it is read, in the order in which topics first came.
type inbox struct {
	mu     sync.Mutex
	newest map[string][]byte
	order  []string
	ready  chan struct{} // buffer of one
}

func newInbox() *inbox {
	return &inbox{newest: map[string][]byte{}, ready: make(chan struct{}, 1)}
}

// put never blocks. Messages of a topic beyond the limit are dropped: nobody listens to so many.
func (b *inbox) put(topic string, payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, waiting := b.newest[topic]; !waiting {
		if len(b.order) >= maxTopics {
			return
		}
		b.order = append(b.order, topic)
	}
	b.newest[topic] = payload
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

func (b *inbox) take() (topic string, payload []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.order) == 0 {
		return "", nil, false
	}
	topic = b.order[0]
	b.order = b.order[1:]
	payload = b.newest[topic]
	delete(b.newest, topic)
	return topic, payload, true
}

// clear forgets what waits.
func (b *inbox) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.order = nil
	clear(b.newest)
}

func (b *inbox) run(ctx context.Context, deliver func(context.Context, string, []byte)) error {
	for {
		for {
			topic, payload, ok := b.take()
			if !ok {
				break
			}
			deliver(ctx, topic, payload)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.ready:
		}
	}
}
