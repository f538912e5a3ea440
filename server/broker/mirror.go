package broker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/store"
)

// inFlight is how many messages wait for their acknowledgement at once.
const inFlight = 64

// MirrorOptions of [NewMirror].
type MirrorOptions struct {
	Store     *store.Store
	Publisher Publisher
	Log       *slog.Logger
}

// Mirror keeps the policies of groups and the documents of devices on a broker as retained messages: all of them at the
// start and after each Republish, and each one that changes. Messages of what was removed are removed.
type Mirror struct {
	o         MirrorOptions
	policies  store.Collection[fleet.PolicyRecord]
	documents store.Collection[protocol.Documents]
	again     chan struct{}
	wake      chan struct{}

	mu      sync.Mutex
	pending map[string][]byte // topic → newest payload that is not published yet; nil removes the message
}

// NewMirror returns a mirror that works once it runs.
func NewMirror(o MirrorOptions) *Mirror {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Mirror{
		o:         o,
		policies:  store.NewCollection[fleet.PolicyRecord](o.Store, fleet.PoliciesName),
		documents: store.NewCollection[protocol.Documents](o.Store, fleet.DocumentsName),
		again:     make(chan struct{}, 1), wake: make(chan struct{}, 1),
		pending: map[string][]byte{},
	}
}

// Republish publishes everything once more, soon. Call it when the broker may have lost its messages.
func (m *Mirror) Republish() { nudge(m.again) }

// Run mirrors until ctx ends.
func (m *Mirror) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return follow(ctx, m, m.policies, policyMessage) })
	g.Go(func() error { return follow(ctx, m, m.documents, documentsMessage) })
	g.Go(func() error { return m.publish(ctx) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func policyMessage(group string, p fleet.PolicyRecord) (string, []byte, error) {
	return protocol.GroupPolicyTopic(group), p.Envelope, nil
}

func documentsMessage(device string, d protocol.Documents) (string, []byte, error) {
	b, err := json.Marshal(d)
	return protocol.DevicePolicyTopic(device), b, err
}

// follow hands all changes of a collection to the publisher.
func follow[T any](ctx context.Context, m *Mirror, c store.Collection[T], message func(string, T) (string, []byte, error)) error {
	put := func(key string, v T, deleted bool) string {
		topic, payload, err := message(key, v)
		if err != nil {
			m.o.Log.Error("a document cannot be published", "topic", topic, "error", err)
			return topic
		}
		if deleted {
			payload = nil
		}
		m.put(topic, payload)
		return topic
	}
	mine := map[string]string{} // key → topic
	return c.Follow(ctx, 0, func(all []store.Entry[T], _ int64) {
		gone := maps.Clone(mine)
		for _, e := range all {
			mine[e.Key] = put(e.Key, e.Value, false)
			delete(gone, e.Key)
		}
		for key := range gone {
			var none T
			put(key, none, true)
			delete(mine, key)
		}
	}, func(changes []store.Change[T]) {
		for _, ch := range changes {
			topic := put(ch.Key, ch.Value, ch.Deleted)
			if ch.Deleted {
				delete(mine, ch.Key)
			} else {
				mine[ch.Key] = topic
			}
		}
	})
}

func (m *Mirror) put(topic string, payload []byte) {
	m.mu.Lock()
	m.pending[topic] = payload
	m.mu.Unlock()
	nudge(m.wake)
}

// publish publishes what is pending, round by round, so that two messages of one topic never overtake each other.
func (m *Mirror) publish(ctx context.Context) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.again:
			if err := m.everything(ctx); err != nil {
				m.o.Log.Warn("the documents could not be read; trying again", "error", err)
				m.Republish()
				retry.Reset(time.Second)
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-retry.C:
				}
			}
		case <-m.wake:
		case <-retry.C:
		}
		if m.round(ctx) > 0 {
			retry.Reset(time.Second)
		}
	}
}

// round publishes what is pending now and returns how much is left over.
func (m *Mirror) round(ctx context.Context) (left int) {
	m.mu.Lock()
	batch := m.pending
	m.pending = map[string][]byte{}
	m.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(inFlight)
	for topic, payload := range batch {
		g.Go(func() error {
			err := m.o.Publisher.Publish(ctx, topic, payload)
			if err == nil {
				return nil
			}
			m.mu.Lock()
			if _, newer := m.pending[topic]; !newer {
				m.pending[topic] = payload
			}
			m.mu.Unlock()
			if ctx.Err() == nil && !errors.Is(err, ErrOffline) {
				m.o.Log.Warn("a document could not be published; trying again", "topic", topic, "error", err)
			}
			return err
		})
	}
	if g.Wait() == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending)
}

// everything makes all documents pending, but for those whose newest form waits already.
func (m *Mirror) everything(ctx context.Context) error {
	policies, _, err := m.policies.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	documents, _, err := m.documents.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	add := func(topic string, payload []byte, err error) {
		if _, waits := m.pending[topic]; !waits && err == nil {
			m.pending[topic] = payload
		}
	}
	for _, e := range policies {
		add(policyMessage(e.Key, e.Value))
	}
	for _, e := range documents {
		add(documentsMessage(e.Key, e.Value))
	}
	return nil
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
