// Package link keeps a device connected to its broker by MQTT 3.1.1 over mutual TLS.
//
// It listens to the device's own topics and those of its groups, keeps the retained presence up to date (Online
// after each connect, Offline as last will), and publishes reports with QoS 1.
//
//	l, err := link.New(link.Options{…, Deliver: f})   f gets the newest message of each topic, one at a time
//	l.SetGroups(groups)                               whenever a membership says so
//	err = l.Publish(ctx, report)                      nil: the broker has it
//	err = l.Run(ctx)                                  connects, and connects again, until ctx ends
//
// paho.mqtt.golang does the protocol, one client a connection. Its own reconnecting is off, because it has no jitter (a
// fleet would come back as one wave), forgets subscriptions, and reports publications as delivered that it dropped. Each
// connection here is a clean session that subscribes anew; retained messages bring what was missed. A connection is
// wrapped by protocol/frame, so that no broker can make the device allocate for a giant packet.
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
)

// ErrOffline says that there is no connection to a broker now.
var ErrOffline = errors.New("not connected to the broker")

const (
	defaultKeepAlive = 5 * time.Minute // two packets each time; a month costs well below a megabyte
	shortestPause    = time.Second
	longestPause     = 2 * time.Minute
	maxGroups        = 256
)

// Options of a Link.
type Options struct {
	Device    string
	Brokers   []string // tls://host:port, tried in turn
	TLS       *tls.Config
	KeepAlive time.Duration                                           // default 5 min
	Site      bool                                                    // listen to hints about the device's site
	Pause     time.Duration                                           // before the first new attempt; doubles up to 2 min; default 1 s
	Deliver   func(ctx context.Context, topic string, payload []byte) // called from one goroutine of Run
	Changed   func(connected bool)                                    // called from one goroutine of Run; may be nil
	Log       *slog.Logger
}

// Link is a device's connection.
type Link struct {
	o         Options
	inbox     *inbox
	connected atomic.Bool
	reached   atomic.Bool

	mu      sync.Mutex
	session *session // nil: offline
	groups  []string
	wake    chan struct{} // the groups have changed; buffer of one
}

// New checks the options. Nothing is connected before Run.
func New(o Options) (*Link, error) {
	if err := firmware.CheckName("device", o.Device); err != nil {
		return nil, err
	}
	for _, b := range o.Brokers {
		if u, err := url.Parse(b); err != nil || u.Host == "" || u.Scheme != "tls" {
			return nil, fmt.Errorf("broker %q: give tls://host:port", b)
		}
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = defaultKeepAlive
	}
	if o.Pause <= 0 {
		o.Pause = shortestPause
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Link{o: o, inbox: newInbox(), wake: make(chan struct{}, 1)}, nil
}

// Connected reports whether the broker listens now.
func (l *Link) Connected() bool { return l.connected.Load() }

// Reached reports whether the broker has accepted this device since the start of the process.
func (l *Link) Reached() bool { return l.reached.Load() }

// SetGroups names the groups whose policies are listened to.
func (l *Link) SetGroups(groups []string) {
	groups = slices.Clone(groups[:min(len(groups), maxGroups)])
	slices.Sort(groups)
	l.mu.Lock()
	same := slices.Equal(groups, l.groups)
	l.groups = groups
	l.mu.Unlock()
	if same {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Publish sends an encoded report. When it returns nil the broker has taken it.
func (l *Link) Publish(ctx context.Context, report []byte) error {
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	if s == nil {
		return ErrOffline
	}
	return s.publish(ctx, protocol.ReportTopic(l.o.Device), report, false)
}

// Run keeps connected until ctx ends; it then returns nil. Without brokers it only waits.
func (l *Link) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.inbox.run(ctx, l.o.Deliver) })
	g.Go(func() error { return l.connect(ctx) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (l *Link) connect(ctx context.Context) error {
	if len(l.o.Brokers) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	pause := l.o.Pause
	for i := 0; ; i++ {
		begin := time.Now()
		err := l.one(ctx, l.o.Brokers[i%len(l.o.Brokers)])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.o.Log.Warn("broker lost", "broker", l.o.Brokers[i%len(l.o.Brokers)], "error", err)
		if time.Since(begin) > longestPause { // it had worked
			pause = l.o.Pause
		}
		wait := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
		pause = min(2*pause, longestPause)
	}
}

// one keeps one connection until it breaks or ctx ends.
func (l *Link) one(ctx context.Context, broker string) error {
	s, err := dial(ctx, l.o, broker, l.inbox.put)
	if err != nil {
		return err
	}
	defer func() {
		s.close()
		l.inbox.clear() // the next connection says it again; who hears it must not take it for that one's
		if l.connected.Load() {
			l.set(nil)
		}
	}()
	listening := map[string]bool{}
	if err := l.listen(ctx, s, listening); err != nil {
		return err
	}
	if err := s.publish(ctx, protocol.PresenceTopic(l.o.Device), []byte(protocol.Online), true); err != nil {
		return err
	}
	l.set(s)
	l.o.Log.Info("broker connected", "broker", broker)
	for {
		select {
		case <-ctx.Done():
			l.farewell(s)
			return ctx.Err()
		case <-s.lost:
			return s.reason()
		case <-l.wake:
			if err := l.listen(ctx, s, listening); err != nil {
				return err
			}
		}
	}
}

// farewell says Offline in person: the last will is for accidents only.
func (l *Link) farewell(s *session) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.publish(ctx, protocol.PresenceTopic(l.o.Device), []byte(protocol.Offline), true); err != nil {
		l.o.Log.Debug("offline was not said", "error", err)
	}
}

func (l *Link) set(s *session) {
	l.mu.Lock()
	l.session = s
	l.mu.Unlock()
	l.connected.Store(s != nil)
	if s != nil {
		l.reached.Store(true)
	}
	if l.o.Changed != nil {
		l.o.Changed(s != nil)
	}
}

// listen makes the subscriptions those of the device and its groups.
func (l *Link) listen(ctx context.Context, s *session, listening map[string]bool) error {
	l.mu.Lock()
	groups := l.groups
	l.mu.Unlock()
	want := map[string]bool{protocol.DevicePolicyTopic(l.o.Device): true}
	if l.o.Site {
		want[protocol.SiteTopic(l.o.Device)] = true // a broker that does not know of it refuses or keeps silent; neither matters
	}
	for _, g := range groups {
		want[protocol.GroupPolicyTopic(g)] = true
	}
	for topic := range listening {
		if !want[topic] {
			if err := s.unsubscribe(ctx, topic); err != nil {
				return err
			}
			delete(listening, topic)
		}
	}
	for topic := range want {
		if !listening[topic] {
			if err := s.subscribe(ctx, topic); err != nil {
				return err
			}
			listening[topic] = true
		}
	}
	return nil
}
