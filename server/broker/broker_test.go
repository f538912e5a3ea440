package broker_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/broker"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/fleet/fleettest"
	"github.com/waxwing-ota/waxwing/server/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
	)
}

// device is an MQTT client as a device has one.
type device struct {
	t    testing.TB
	id   string
	paho mqtt.Client
	lost chan error

	mu  sync.Mutex
	got map[string][]byte // topic → newest payload
}

// options of a device; tests change them.
func options(w *fleettest.World, address, id string, cert tls.Certificate) *mqtt.ClientOptions {
	return mqtt.NewClientOptions().AddBroker("tls://"+address).SetClientID(id).SetProtocolVersion(4).SetCleanSession(true).
		SetAutoReconnect(false).SetConnectTimeout(5*time.Second).
		SetTLSConfig(&tls.Config{RootCAs: w.Identity.Pool(), Certificates: []tls.Certificate{cert}}).
		SetWill(protocol.PresenceTopic(id), protocol.Offline, 1, true)
}

func connect(t testing.TB, id string, o *mqtt.ClientOptions) (*device, error) {
	t.Helper()
	d := &device{t: t, id: id, lost: make(chan error, 1), got: map[string][]byte{}}
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { d.lost <- err })
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.got[m.Topic()] = m.Payload()
	})
	d.paho = mqtt.NewClient(o)
	token := d.paho.Connect()
	token.Wait()
	if err := token.Error(); err != nil {
		d.paho.Disconnect(0)
		return nil, err
	}
	t.Cleanup(func() { d.paho.Disconnect(0) })
	return d, nil
}

func mustConnect(t testing.TB, w *fleettest.World, address, id string, cert tls.Certificate) *device {
	t.Helper()
	d, err := connect(t, id, options(w, address, id, cert))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *device) subscribe(topic string) error {
	token := d.paho.Subscribe(topic, 1, nil)
	if !token.WaitTimeout(10 * time.Second) {
		return errors.New("no answer")
	}
	if err := token.Error(); err != nil {
		return err
	}
	if code := token.(*mqtt.SubscribeToken).Result()[topic]; code > 2 {
		return fmt.Errorf("refused with %d", code)
	}
	return nil
}

func (d *device) publish(topic string, payload []byte, retain bool) {
	d.t.Helper()
	token := d.paho.Publish(topic, 1, retain, payload)
	if !token.WaitTimeout(10 * time.Second) {
		d.t.Fatalf("%s: no acknowledgement on %s", d.id, topic)
	}
}

func (d *device) holds(topic string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got[topic]
}

func (d *device) waitLost() {
	d.t.Helper()
	select {
	case <-d.lost:
	case <-time.After(10 * time.Second):
		d.t.Fatalf("%s keeps its connection", d.id)
	}
}

// place is a running broker with the server's side connected to it.
type place struct {
	world   *fleettest.World
	server  broker.Publisher
	address string
	kind    string
}

func embedded(t testing.TB) (*place, *broker.Embedded) {
	t.Helper()
	w := fleettest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	feed := w.Subscribe()
	e, err := broker.NewEmbedded(broker.Options{Listener: l, TLS: w.Identity.ServerTLS(nil), Fleet: w.Fleet, Changed: feed.Next})
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Run(t, e.Run)
	fleettest.Run(t, broker.NewMirror(broker.MirrorOptions{Store: w.Store, Publisher: e}).Run)
	return &place{world: w, server: e, address: l.Addr().String(), kind: "embedded"}, e
}

func putPolicy(t testing.TB, s *store.Store, group, payload string) {
	t.Helper()
	c := store.NewCollection[fleet.PolicyRecord](s, fleet.PoliciesName)
	if err := c.Put(t.Context(), group, fleet.PolicyRecord{Seq: 1, Envelope: []byte(payload)}); err != nil {
		t.Fatal(err)
	}
}

// conformance is what must hold with any broker.
func conformance(t *testing.T, p *place) {
	w := p.world
	ctx := t.Context()
	one := w.Device(t, "d-1", map[string]string{"site": "oslo"})
	two := w.Device(t, "d-2", nil)
	if _, err := w.PutGroup(ctx, fleet.Group{Name: "north", Selector: "site=oslo"}, false); err != nil {
		t.Fatal(err)
	}
	putPolicy(t, w.Store, "north", "policy 1")
	d1 := mustConnect(t, w, p.address, "d-1", one)
	d2 := mustConnect(t, w, p.address, "d-2", two)

	t.Run("policies and memberships arrive, also later ones", func(t *testing.T) {
		for _, topic := range []string{protocol.DevicePolicyTopic("d-1"), protocol.GroupPolicyTopic("north")} {
			if err := d1.subscribe(topic); err != nil {
				t.Fatal(topic, err)
			}
		}
		fleettest.Eventually(t, "the policy of the group", func() bool { return string(d1.holds(protocol.GroupPolicyTopic("north"))) == "policy 1" })
		fleettest.Eventually(t, "the device's documents", func() bool {
			var got protocol.Documents
			return json.Unmarshal(d1.holds(protocol.DevicePolicyTopic("d-1")), &got) == nil && len(got.Membership) > 0
		})
		putPolicy(t, w.Store, "north", "policy 2")
		fleettest.Eventually(t, "the next policy", func() bool { return string(d1.holds(protocol.GroupPolicyTopic("north"))) == "policy 2" })
	})
	t.Run("an acknowledged report is durable", func(t *testing.T) {
		d1.publish(protocol.ReportTopic("d-1"), fleettest.Report(t, "d-1", 1, nil), false)
		states := store.NewCollection[fleet.State](w.Store, fleet.StatesName)
		if p.kind == "embedded" {
			if e, err := states.Get(ctx, "d-1"); err != nil || e.Value.Address == "" {
				t.Fatal(e, err)
			}
		}
		// An external broker answers for itself; the report reaches us a moment later.
		fleettest.Eventually(t, "the report is stored", func() bool {
			e, err := states.Get(ctx, "d-1")
			return err == nil && e.Value.Report.Seq == 1
		})
	})
	t.Run("reports that will never be taken do not jam", func(t *testing.T) {
		for _, junk := range [][]byte{[]byte("{"), nil, fleettest.Report(t, "d-2", 9, nil), make([]byte, 100_000)} {
			d1.publish(protocol.ReportTopic("d-1"), junk, false)
		}
		for seq := uint64(2); seq < 50; seq++ {
			d1.publish(protocol.ReportTopic("d-1"), fleettest.Report(t, "d-1", seq, func(r *protocol.Report) { r.Neighbors = int(seq) }), false)
		}
		fleettest.Eventually(t, "the last report", func() bool {
			v, err := w.View(ctx, "d-1")
			return err == nil && v.State.Report.Seq == 49
		})
	})
	t.Run("presence", func(t *testing.T) {
		online := func(id string) bool {
			v, err := w.View(ctx, id)
			return err == nil && v.Presence.Online
		}
		d2.publish(protocol.PresenceTopic("d-2"), []byte(protocol.Online), true)
		fleettest.Eventually(t, "online", func() bool { return online("d-2") })
		d2.publish(protocol.PresenceTopic("d-2"), []byte(protocol.Offline), true)
		fleettest.Eventually(t, "offline", func() bool { return !online("d-2") })
	})
	t.Run("a device reads and writes nothing of others", func(t *testing.T) {
		if err := d2.subscribe(protocol.DevicePolicyTopic("d-2")); err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{
			protocol.DevicePolicyTopic("d-1"), protocol.ReportTopic("d-1"), "#", "waxwing/#", "waxwing/v1/policy/device/+",
			protocol.AllReports, "$SYS/#", "$share/g/waxwing/v1/policy/device/d-1",
		} {
			_ = d2.subscribe(topic) // Mosquitto says yes and then delivers nothing
		}
		for _, topic := range []string{protocol.DevicePolicyTopic("d-1"), protocol.GroupPolicyTopic("north"), protocol.ReportTopic("d-1")} {
			evil, err := connect(t, "d-2", options(w, p.address, "d-2", two))
			if err != nil {
				t.Fatal(err)
			}
			evil.publish(topic, fleettest.Report(t, "d-1", 1000, nil), true) // ends in a hang-up or in nothing
			evil.paho.Disconnect(0)
		}
		// What d-1 sees afterwards came from the server.
		putPolicy(t, w.Store, "north", "policy 3")
		fleettest.Eventually(t, "policy 3", func() bool { return string(d1.holds(protocol.GroupPolicyTopic("north"))) == "policy 3" })
		var got protocol.Documents
		if err := json.Unmarshal(d1.holds(protocol.DevicePolicyTopic("d-1")), &got); err != nil || len(got.Membership) == 0 {
			t.Errorf("d-1 was told %q", d1.holds(protocol.DevicePolicyTopic("d-1")))
		}
		if v, err := w.View(ctx, "d-1"); err != nil || v.State.Report.Seq != 49 {
			t.Errorf("d-2 spoke for d-1: seq %d, %v", v.State.Report.Seq, err)
		}
		d2.mu.Lock()
		defer d2.mu.Unlock()
		for topic := range d2.got {
			if p.kind == "mosquitto" && topic == protocol.GroupPolicyTopic("north") {
				continue // it knows no groups
			}
			if topic != protocol.DevicePolicyTopic("d-2") && topic != protocol.PresenceTopic("d-2") {
				t.Errorf("d-2 read %s", topic)
			}
		}
	})
	t.Run("a device reads the hints of its own site alone", func(t *testing.T) {
		for _, id := range []string{"d-1", "d-2"} {
			if err := p.server.Publish(ctx, protocol.SiteTopic(id), []byte("hint for "+id)); err != nil {
				t.Fatal(err)
			}
		}
		d2 := mustConnect(t, w, p.address, "d-2", two)
		_ = d2.subscribe(protocol.SiteTopic("d-1")) // refused, or granted and then nothing is delivered
		if err := d2.subscribe(protocol.SiteTopic("d-2")); err != nil {
			t.Fatal(err)
		}
		fleettest.Eventually(t, "its own", func() bool { return string(d2.holds(protocol.SiteTopic("d-2"))) == "hint for d-2" })
		if got := d2.holds(protocol.SiteTopic("d-1")); got != nil {
			t.Errorf("d-2 read %q", got)
		}
	})
	t.Run("what is removed is removed", func(t *testing.T) {
		if err := store.NewCollection[fleet.PolicyRecord](w.Store, fleet.PoliciesName).Delete(ctx, "north"); err != nil {
			t.Fatal(err)
		}
		fleettest.Eventually(t, "an empty message", func() bool {
			b := d1.holds(protocol.GroupPolicyTopic("north"))
			return b != nil && len(b) == 0
		})
	})
}

func TestEmbedded(t *testing.T) {
	p, _ := embedded(t)
	conformance(t, p)
}

// The client works with our own broker as with any other.
func TestClientOfEmbedded(t *testing.T) {
	p, e := embedded(t)
	connected := make(chan struct{}, 8)
	c, err := broker.NewClient(broker.ClientOptions{
		Broker: "tls://" + p.address, TLS: p.world.Identity.ClientTLS(nil), Fleet: p.world.Fleet,
		Connected: func() { connected <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(t.Context(), "waxwing/v1/policy/group/x", nil); !errors.Is(err, broker.ErrOffline) {
		t.Fatal(err)
	}
	fleettest.Run(t, c.Run)
	<-connected
	e.Kick("waxwing-server")
	<-connected // it comes back by itself
	if err := c.Publish(t.Context(), protocol.DevicePolicyTopic("d-9"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	d := mustConnect(t, p.world, p.address, "d-9", p.world.Device(t, "d-9", nil))
	if err := d.subscribe(protocol.DevicePolicyTopic("d-9")); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, "a message", func() bool { return len(d.holds(protocol.DevicePolicyTopic("d-9"))) > 0 })
}

func TestClientRefusesBadURLs(t *testing.T) {
	for _, u := range []string{"", "host:8883", "http://host:1", "tls://host", "://"} {
		if _, err := broker.NewClient(broker.ClientOptions{Broker: u}); err == nil {
			t.Errorf("%q was accepted", u)
		}
	}
}
