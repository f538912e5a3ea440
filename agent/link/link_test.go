package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

type message struct{ topic, payload string }

// start runs a link until the test ends.
func start(t *testing.T, ca *agenttest.CA, broker string) (l *Link, got chan message, online chan bool, stop func()) {
	t.Helper()
	got, online = make(chan message, 100), make(chan bool, 100)
	l, err := New(Options{
		Device: "d-1", Brokers: []string{broker}, TLS: ca.Device("d-1"), Pause: 20 * time.Millisecond,
		Deliver: func(_ context.Context, topic string, payload []byte) { got <- message{topic, string(payload)} },
		Changed: func(c bool) { online <- c },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return l, got, online, stop
}

func next[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("no " + what)
		panic("unreachable")
	}
}

func TestTopics(t *testing.T) {
	ca := agenttest.NewCA(t)
	b := agenttest.NewBroker(t, ca)
	b.Publish(protocol.DevicePolicyTopic("d-1"), []byte("mine"))
	b.Publish(protocol.DevicePolicyTopic("d-2"), []byte("not mine"))
	b.Publish(protocol.GroupPolicyTopic("all"), []byte("everyone"))
	l, got, online, _ := start(t, ca, b.URL())
	if !next(t, online, "connection") || !l.Connected() || !l.Reached() {
		t.Error("offline")
	}
	if m := next(t, got, "message"); m != (message{protocol.DevicePolicyTopic("d-1"), "mine"}) {
		t.Error(m)
	}
	l.SetGroups([]string{"all"})
	if m := next(t, got, "message"); m != (message{protocol.GroupPolicyTopic("all"), "everyone"}) {
		t.Error(m)
	}
	l.SetGroups([]string{"edge"})
	b.Publish(protocol.GroupPolicyTopic("edge"), []byte("edge"))
	if m := next(t, got, "message"); m.payload != "edge" {
		t.Error(m)
	}
	b.Publish(protocol.GroupPolicyTopic("all"), []byte("no longer heard"))
	b.Publish(protocol.GroupPolicyTopic("edge"), []byte("last"))
	if m := next(t, got, "message"); m.payload != "last" {
		t.Error(m)
	}
}

func TestReportsAndPresence(t *testing.T) {
	ca := agenttest.NewCA(t)
	b := agenttest.NewBroker(t, ca)
	heard := make(chan agenttest.Message, 100)
	b.Listen(protocol.DeviceTopics("d-1")+"#", func(m agenttest.Message) { heard <- m })
	l, _, online, stop := start(t, ca, b.URL())
	next(t, online, "connection")
	if m := next(t, heard, "presence"); string(m.Payload) != protocol.Online {
		t.Error(m)
	}
	if err := l.Publish(context.Background(), []byte("report")); err != nil {
		t.Fatal(err)
	}
	if m := next(t, heard, "report"); m.Topic != protocol.ReportTopic("d-1") || string(m.Payload) != "report" {
		t.Error(m)
	}
	stop()
	if m := next(t, heard, "presence"); string(m.Payload) != protocol.Offline {
		t.Error(m)
	}
	if err := l.Publish(context.Background(), []byte("report")); !errors.Is(err, ErrOffline) {
		t.Error(err)
	}
}

func TestComesBack(t *testing.T) {
	ca := agenttest.NewCA(t)
	b := agenttest.NewBroker(t, ca)
	l, got, online, _ := start(t, ca, b.URL())
	l.SetGroups([]string{"all"})
	next(t, online, "connection")
	b.Stop()
	if next(t, online, "loss") || l.Connected() || !l.Reached() {
		t.Error("still online")
	}
	if err := l.Publish(context.Background(), nil); !errors.Is(err, ErrOffline) {
		t.Error(err)
	}
	b.Start()
	b.Publish(protocol.GroupPolicyTopic("all"), []byte("missed"))
	if !next(t, online, "return") {
		t.Error("offline")
	}
	if m := next(t, got, "message"); m.payload != "missed" {
		t.Error(m)
	}
}

// TestHostileBroker announces a packet of 256 MB; the link ends the connection and comes back.
func TestHostileBroker(t *testing.T) {
	ca := agenttest.NewCA(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	connections := make(chan struct{}, 100)
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			conn := tlsServer(raw, ca)
			connections <- struct{}{}
			if _, err := conn.Read(make([]byte, 1024)); err == nil {
				conn.Write([]byte{0x20, 2, 0, 0, 0x30, 0xff, 0xff, 0xff, 0x7f})
				conn.Read(make([]byte, 1024))
			}
			conn.Close()
		}
	}()
	start(t, ca, "tls://"+l.Addr().String())
	for range 3 {
		next(t, connections, "new attempt")
	}
}

func TestInboxKeepsTheNewest(t *testing.T) {
	b := newInbox()
	for i := range 1000 {
		b.put(fmt.Sprint("topic ", i%2), fmt.Append(nil, i))
	}
	for _, want := range []string{"998", "999"} {
		if _, payload, ok := b.take(); !ok || string(payload) != want {
			t.Errorf("%q, not %q", payload, want)
		}
	}
	for i := range 2 * maxTopics {
		b.put(fmt.Sprint(i), nil)
	}
	if len(b.order) != maxTopics {
		t.Error(len(b.order))
	}
}

func TestNew(t *testing.T) {
	for _, o := range []Options{{Device: "D!"}, {Device: "d", Brokers: []string{"mqtt://x:1"}}, {Device: "d", Brokers: []string{"x"}}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v", o)
		}
	}
}
