package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/agent/protocol/frame"
	"github.com/waxwing-ota/waxwing/server/identity"
)

const (
	connectTime  = 10 * time.Second
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 30 * time.Second
	maxReceiving = 512
)

// ClientOptions of [NewClient].
type ClientOptions struct {
	// Broker is its URL: tls://host:8883, or tcp://user:password@host:1883 on a network that is trusted.
	Broker string
	TLS    *tls.Config // identity.ClientTLS
	ID     string      // MQTT client id; empty: waxwing-server. Each server of a broker needs its own.
	Fleet  Fleet
	// Connected is called after each connection, when the subscriptions stand: Republish of a Mirror. May be nil.
	Connected func()
	Log       *slog.Logger
}

// Client is the server's connection to a broker.
type Client struct {
	o   ClientOptions
	url *url.URL

	mu   sync.Mutex
	link *link // nil: offline
}

// link is one connection that stands.
type link struct {
	paho mqtt.Client
	over chan struct{} // closed at its end; paho leaves the tokens of a persistent session open for ever
}

// NewClient checks the URL and returns a client that connects once it runs.
func NewClient(o ClientOptions) (*Client, error) {
	u, err := url.Parse(o.Broker)
	if err != nil {
		return nil, fmt.Errorf("MQTT broker: %w", err)
	}
	switch u.Scheme {
	case "tls", "ssl", "mqtts", "tcp", "mqtt":
	default:
		return nil, fmt.Errorf("MQTT broker %s: give it as tls://host:8883", u.Redacted())
	}
	if u.Port() == "" {
		return nil, fmt.Errorf("MQTT broker %s: a port is missing; 8883 is usual for TLS", u.Redacted())
	}
	if o.ID == "" {
		o.ID = identity.ServerName
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{o: o, url: u}, nil
}

// Publish implements Publisher: it returns when the broker has acknowledged. Without a connection it is ErrOffline.
func (c *Client) Publish(ctx context.Context, topic string, payload []byte) error {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l == nil {
		return ErrOffline
	}
	t := l.paho.Publish(topic, 1, true, payload)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.over:
		return ErrOffline
	case <-t.Done():
	}
	if err := t.Error(); err != nil {
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	// paho ends a token without an error also when the connection broke before the acknowledgement.
	if !l.paho.IsConnectionOpen() {
		return ErrOffline
	}
	return nil
}

// Online reports whether there is a connection.
func (c *Client) Online() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil
}

// Run keeps a connection until ctx ends. Broken ones are made again after a growing, random time, so that the servers of
// a broker do not all come back at once.
func (c *Client) Run(ctx context.Context) error {
	backoff := firstBackoff
	clean := false
	for {
		began := time.Now()
		err := c.session(ctx, clean)
		select {
		case <-ctx.Done():
			return nil
		default:
		}
		// A message too long waits in our session at the broker and would break each connection; a clean session drops it.
		clean = errors.Is(err, frame.ErrTooLong)
		if time.Since(began) > maxBackoff {
			backoff = firstBackoff
		}
		wait := backoff/2 + rand.N(backoff)
		backoff = min(2*backoff, maxBackoff)
		c.o.Log.Warn("no connection to the MQTT broker", "broker", c.url.Redacted(), "error", err, "again_in", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// session is one connection, from its beginning to its end. A paho client is not used again after it.
func (c *Client) session(ctx context.Context, clean bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := &intake{take: func(m mqtt.Message) { c.receive(ctx, m) }}
	in.work.SetLimit(maxReceiving)
	lost := make(chan error, 1)
	o := mqtt.NewClientOptions().
		AddBroker(c.url.String()).
		SetClientID(c.o.ID).
		SetProtocolVersion(4).
		SetCleanSession(clean).
		SetAutoReconnect(false).
		SetKeepAlive(30 * time.Second).
		SetPingTimeout(10 * time.Second).
		SetWriteTimeout(10 * time.Second).
		SetConnectTimeout(connectTime).
		// In order, so that going and coming back are not mistaken for each other. What waits for the store is handed to
		// other goroutines by the handler: on the reading path it would hold up pings and acknowledgements.
		SetOrderMatters(true).
		SetAutoAckDisabled(true).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err }).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			if device, kind, ok := deviceOf(m.Topic()); ok && kind == kindReport {
				in.add(m)
			} else {
				c.presence(device, kind, m)
			}
		}).
		SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt.ClientOptions) (net.Conn, error) { return c.dial(ctx, u) })
	if c.url.User != nil {
		o.SetUsername(c.url.User.Username())
		password, _ := c.url.User.Password()
		o.SetPassword(password)
	}
	p := mqtt.NewClient(o)
	defer in.end()
	defer cancel()
	defer p.Disconnect(250)
	if err := await(ctx, p.Connect()); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := c.subscribe(ctx, p); err != nil {
		return err
	}
	l := &link{paho: p, over: make(chan struct{})}
	c.hold(l)
	defer close(l.over)
	defer c.hold(nil)
	c.o.Log.Info("connected to the MQTT broker", "broker", c.url.Redacted())
	if c.o.Connected != nil {
		c.o.Connected()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-lost:
		return fmt.Errorf("connection lost: %w", err)
	}
}

func (c *Client) hold(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
}

func (c *Client) subscribe(ctx context.Context, p mqtt.Client) error {
	t := p.SubscribeMultiple(map[string]byte{protocol.AllReports: 1, protocol.AllPresence: 1}, nil)
	if err := await(ctx, t); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	for filter, code := range t.(*mqtt.SubscribeToken).Result() {
		if code > 2 {
			return fmt.Errorf("the broker refuses %s to %s; allow it to read and write waxwing/v1/#", filter, c.o.ID)
		}
	}
	return nil
}

// dial opens the connection with a guard against packets that announce more than they should. The limit is high, because
// a broker may let a device send more than we take, and that must not cost us the connection.
func (c *Client) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	dialer := &net.Dialer{KeepAlive: 30 * time.Second}
	var conn net.Conn
	var err error
	if u.Scheme == "tcp" || u.Scheme == "mqtt" {
		conn, err = dialer.DialContext(ctx, "tcp", u.Host)
	} else {
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: c.o.TLS}).DialContext(ctx, "tcp", u.Host)
	}
	if err != nil {
		return nil, err
	}
	return frame.Limit(conn, 16<<20), nil
}

// presence takes a message of a presence topic, and acknowledges anything else unread.
func (c *Client) presence(device, kind string, m mqtt.Message) {
	if p := string(m.Payload()); kind == kindPresence && (p == protocol.Online || p == protocol.Offline) {
		c.o.Fleet.Presence(device, p == protocol.Online)
	}
	m.Ack()
}

// receive takes one report and acknowledges it when it is durable or will never be taken.
func (c *Client) receive(ctx context.Context, m mqtt.Message) {
	device, _, _ := deviceOf(m.Topic())
	for {
		err := c.o.Fleet.Ingest(ctx, device, m.Payload(), "")
		if err == nil {
			break
		}
		if never(err) {
			c.o.Log.Warn("a report was refused", "device", device, "reason", err)
			break
		}
		select {
		case <-ctx.Done():
			return // the broker sends it again
		case <-time.After(time.Second):
		}
	}
	m.Ack()
}

// intake runs one goroutine for each report that waits for the store, up to a limit; then the connection is not read.
type intake struct {
	take  func(mqtt.Message)
	mu    sync.Mutex
	ended bool
	work  errgroup.Group
}

func (i *intake) add(m mqtt.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.ended {
		i.work.Go(func() error { i.take(m); return nil })
	}
}

func (i *intake) end() {
	i.mu.Lock()
	i.ended = true
	i.mu.Unlock()
	_ = i.work.Wait() // no task returns an error
}

// await waits for a token of paho.
func await(ctx context.Context, t mqtt.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}
