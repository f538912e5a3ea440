package agenttest

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Broker is an MQTT broker that can go away and come back at the same address.
type Broker struct {
	t      testing.TB
	ca     *CA
	addr   string
	server *mqtt.Server
	stored map[string][]byte // retained by Publish, for the next life
}

// Message is what somebody published.
type Message struct {
	Topic   string
	Payload []byte
}

// NewBroker starts one; it stops with the test.
func NewBroker(t testing.TB, ca *CA) *Broker {
	t.Helper()
	b := &Broker{t: t, ca: ca, addr: "127.0.0.1:0", stored: map[string][]byte{}}
	b.Start()
	t.Cleanup(b.Stop)
	return b
}

// Start begins to listen, at the address of the first start.
func (b *Broker) Start() {
	b.t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = l.Addr().String()
	b.server = mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := b.server.AddHook(new(allow), nil); err != nil {
		b.t.Fatal(err)
	}
	if err := b.server.AddListener(listeners.NewNet("test", tls.NewListener(l, b.ca.Server(tls.RequireAndVerifyClientCert)))); err != nil {
		b.t.Fatal(err)
	}
	for topic, payload := range b.stored {
		b.Publish(topic, payload)
	}
	if err := b.server.Serve(); err != nil {
		b.t.Fatal(err)
	}
}

// Stop ends all connections.
func (b *Broker) Stop() {
	if b.server == nil {
		return
	}
	if err := b.server.Close(); err != nil {
		b.t.Error(err)
	}
	b.server = nil
}

// URL returns tls://host:port.
func (b *Broker) URL() string { return "tls://" + b.addr }

// Publish retains a message; an empty one removes what was retained.
func (b *Broker) Publish(topic string, payload []byte) {
	b.t.Helper()
	b.stored[topic] = payload
	if err := b.server.Publish(topic, payload, true, 1); err != nil {
		b.t.Fatal(err)
	}
}

// Listen calls f for every message below a filter, until the broker stops.
func (b *Broker) Listen(filter string, f func(Message)) {
	b.t.Helper()
	err := b.server.Subscribe(filter, len(b.stored)+1, func(_ *mqtt.Client, _ packets.Subscription, p packets.Packet) {
		f(Message{p.TopicName, p.Payload})
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// allow lets every device with a certificate do everything.
type allow struct{ mqtt.HookBase }

// ID implements mqtt.Hook.
func (*allow) ID() string { return "allow" }

// Provides implements mqtt.Hook.
func (*allow) Provides(b byte) bool { return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck }

// OnConnectAuthenticate implements mqtt.Hook.
func (*allow) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck implements mqtt.Hook.
func (*allow) OnACLCheck(*mqtt.Client, string, bool) bool { return true }
