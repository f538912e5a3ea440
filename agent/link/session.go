package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/agent/protocol/frame"
)

const (
	connectTimeout = 15 * time.Second
	writeTimeout   = 10 * time.Second
	answerTimeout  = 20 * time.Second
	maxPacket      = protocol.MaxDocument + 1<<10
)

// session is one connection, from connect to loss.
type session struct {
	client mqtt.Client
	lost   chan struct{}
	once   sync.Once
	err    error // why it was lost; set before lost closes
}

func dial(ctx context.Context, o Options, broker string, received func(topic string, payload []byte)) (*session, error) {
	s := &session{lost: make(chan struct{})}
	options := mqtt.NewClientOptions().AddBroker(broker).SetClientID(o.Device).SetProtocolVersion(4).
		SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).
		SetKeepAlive(o.KeepAlive).SetPingTimeout(answerTimeout).SetConnectTimeout(connectTimeout).SetWriteTimeout(writeTimeout).
		SetWill(protocol.PresenceTopic(o.Device), protocol.Offline, 1, true).
		// The handler only puts the message aside, so it may run on the read path; side by side an older message could
		// overtake a newer one of the same topic.
		SetOrderMatters(true).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { received(m.Topic(), m.Payload()) }).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.end(err) }).
		SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt.ClientOptions) (net.Conn, error) {
			conn, err := open(ctx, u.Host, o.TLS)
			return watched{conn, s.end}, err
		})
	s.client = mqtt.NewClient(options)
	if err := s.wait(ctx, s.client.Connect()); err != nil {
		s.close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, host string, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{NetDialer: &net.Dialer{KeepAlive: -1}, Config: config}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	return frame.Limit(conn, maxPacket), nil
}

func (s *session) publish(ctx context.Context, topic string, payload []byte, retained bool) error {
	if err := s.wait(ctx, s.client.Publish(topic, 1, retained, payload)); err != nil {
		return fmt.Errorf("publish %s: %w", topic, err)
	}
	return nil
}

func (s *session) subscribe(ctx context.Context, topic string) error {
	t := s.client.Subscribe(topic, 1, nil)
	if err := s.wait(ctx, t); err != nil {
		return fmt.Errorf("subscribe %s: %w", topic, err)
	}
	return nil
}

func (s *session) unsubscribe(ctx context.Context, topic string) error {
	if err := s.wait(ctx, s.client.Unsubscribe(topic)); err != nil {
		return fmt.Errorf("unsubscribe %s: %w", topic, err)
	}
	return nil
}

// wait waits for the broker's answer. A token also completes when the connection breaks, so that is asked for too.
func (s *session) wait(ctx context.Context, t mqtt.Token) error {
	limit := time.NewTimer(answerTimeout)
	defer limit.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-limit.C:
		return fmt.Errorf("no answer within %s: %w", answerTimeout, ErrOffline)
	case <-s.lost:
		return s.reason()
	case <-t.Done():
	}
	if err := t.Error(); err != nil {
		return err
	}
	select {
	case <-s.lost:
		return s.reason()
	default:
		return nil
	}
}

func (s *session) end(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.lost)
	})
}

func (s *session) reason() error { return fmt.Errorf("%w: %w", ErrOffline, s.err) }

// close disconnects and waits until the goroutines of the client are gone.
func (s *session) close() {
	s.end(ErrOffline)
	s.client.Disconnect(250)
}

// watched tells of the first failed read. paho does so too, but not when it comes right behind the broker's greeting.
type watched struct {
	net.Conn
	failed func(error)
}

// Read implements net.Conn.
func (w watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil {
		w.failed(err)
	}
	return n, err
}
