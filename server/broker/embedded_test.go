package broker_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/fleet/fleettest"
	"github.com/waxwing-ota/waxwing/server/identity"
)

func TestWhoIsNotLetIn(t *testing.T) {
	p, e := embedded(t)
	w := p.world
	cert := w.Device(t, "d-1", nil)
	foreign, err := identity.Open(identity.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	key := fleettest.NewKey(t)
	request, err := identity.ParseRequest(fleettest.Request(t, key))
	if err != nil {
		t.Fatal(err)
	}
	issue := func(a *identity.Authority, id string) tls.Certificate {
		b, err := a.Device(id, request)
		if err != nil {
			t.Fatal(err)
		}
		return fleettest.Pair(t, b, key)
	}
	for name, try := range map[string]func() (*device, error){
		"no certificate": func() (*device, error) {
			o := options(w, p.address, "d-1", cert)
			o.TLSConfig.Certificates = nil
			return connect(t, "d-1", o)
		},
		"another fleet": func() (*device, error) {
			return connect(t, "d-1", options(w, p.address, "d-1", issue(foreign, "d-1")))
		},
		"never enrolled": func() (*device, error) { return connect(t, "x", options(w, p.address, "x", issue(w.Identity, "x"))) },
		"another key": func() (*device, error) {
			return connect(t, "d-1", options(w, p.address, "d-1", issue(w.Identity, "d-1")))
		},
		"another client id": func() (*device, error) { return connect(t, "d-2", options(w, p.address, "d-2", cert)) },
		"the server's id":   func() (*device, error) { return connect(t, "d-1", options(w, p.address, identity.ServerName, cert)) },
		"no client id":      func() (*device, error) { return connect(t, "", options(w, p.address, "", cert)) },
		"a will for somebody": func() (*device, error) {
			return connect(t, "d-1", options(w, p.address, "d-1", cert).SetWill(protocol.GroupPolicyTopic("all"), "x", 1, true))
		},
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s: came in", name)
		}
	}
	if n := e.Connected(); n != 0 {
		t.Errorf("%d are connected", n)
	}
	mustConnect(t, w, p.address, "d-1", cert)
}

func TestRejectedDeviceIsDisconnected(t *testing.T) {
	p, _ := embedded(t)
	cert := p.world.Device(t, "d-1", nil)
	d := mustConnect(t, p.world, p.address, "d-1", cert)
	if _, err := p.world.Reject(t.Context(), "d-1"); err != nil {
		t.Fatal(err)
	}
	d.waitLost()
	if _, err := connect(t, "d-1", options(p.world, p.address, "d-1", cert)); err == nil {
		t.Fatal("it came back")
	}
	fleettest.Eventually(t, "offline", func() bool {
		v, err := p.world.View(t.Context(), "d-1")
		return err == nil && !v.Presence.Online
	})
	if _, err := p.world.Accept(t.Context(), "d-1"); err != nil {
		t.Fatal(err)
	}
	mustConnect(t, p.world, p.address, "d-1", cert)
}

func TestOnlyTheGroupsOfADevice(t *testing.T) {
	p, _ := embedded(t)
	w := p.world
	d := mustConnect(t, w, p.address, "d-1", w.Device(t, "d-1", map[string]string{"site": "oslo"}))
	if _, err := w.PutGroup(t.Context(), fleet.Group{Name: "south", Selector: "site=rome"}, true); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{protocol.GroupPolicyTopic("south"), protocol.GroupPolicyTopic("+"), "waxwing/v1/policy/group/#", protocol.GroupPolicyTopic("")} {
		if err := d.subscribe(topic); err == nil {
			t.Errorf("may read %s", topic)
		}
	}
	rome, oslo := "rome", "oslo"
	if _, err := w.Label(t.Context(), "d-1", map[string]*string{"site": &rome}); err != nil {
		t.Fatal(err)
	}
	if err := d.subscribe(protocol.GroupPolicyTopic("south")); err != nil {
		t.Fatal(err)
	}
	putPolicy(t, w.Store, "south", "1")
	fleettest.Eventually(t, "its policy", func() bool { return string(d.holds(protocol.GroupPolicyTopic("south"))) == "1" })
	// It leaves the group and hears no more, though it is still subscribed.
	if _, err := w.Label(t.Context(), "d-1", map[string]*string{"site": &oslo}); err != nil {
		t.Fatal(err)
	}
	if err := d.subscribe(protocol.GroupPolicyTopic(fleet.AllGroup)); err != nil {
		t.Fatal(err)
	}
	putPolicy(t, w.Store, "south", "2")
	putPolicy(t, w.Store, fleet.AllGroup, "3")
	fleettest.Eventually(t, "the other policy", func() bool { return string(d.holds(protocol.GroupPolicyTopic(fleet.AllGroup))) == "3" })
	if got := string(d.holds(protocol.GroupPolicyTopic("south"))); got != "1" {
		t.Errorf("it read %q of a group that it left", got)
	}
}

func TestDeviceThatComesBackIsOnline(t *testing.T) {
	p, _ := embedded(t)
	w := p.world
	cert := w.Device(t, "d-1", nil)
	online := func() bool {
		v, err := w.View(t.Context(), "d-1")
		return err == nil && v.Presence.Online
	}
	first := mustConnect(t, w, p.address, "d-1", cert)
	fleettest.Eventually(t, "online by its connection alone", online)
	for range 5 {
		second := mustConnect(t, w, p.address, "d-1", cert)
		first.waitLost()
		second.publish(protocol.ReportTopic("d-1"), fleettest.Report(t, "d-1", 1, nil), false)
		if !online() {
			t.Fatal("the end of the old connection made the device offline")
		}
		first = second
	}
	first.paho.Disconnect(0)
	fleettest.Eventually(t, "offline", func() bool { return !online() })
}

func TestNothingUnknownIsRetained(t *testing.T) {
	p, _ := embedded(t)
	d := mustConnect(t, p.world, p.address, "d-1", p.world.Device(t, "d-1", nil))
	for _, topic := range []string{protocol.DeviceTopics("d-1") + "log", protocol.ReportTopic("d-1") + "/x", protocol.PresenceTopic("d-1")} {
		d.publish(topic, []byte("junk"), true)
	}
	d.publish(protocol.ReportTopic("d-1"), fleettest.Report(t, "d-1", 1, nil), true)
	s, err := connect(t, "watcher", options(p.world, p.address, "watcher", serverCertificate(t, p.world)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.subscribe("waxwing/v1/device/#"); err != nil {
		t.Fatal(err)
	}
	if err := s.subscribe(protocol.DevicePolicyTopic("d-1")); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, "the documents, which come after the rest", func() bool { return len(s.holds(protocol.DevicePolicyTopic("d-1"))) > 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, payload := range s.got {
		if topic != protocol.DevicePolicyTopic("d-1") {
			t.Errorf("%s is retained: %q", topic, payload)
		}
	}
}

func serverCertificate(t *testing.T, w *fleettest.World) tls.Certificate {
	t.Helper()
	c, err := w.Identity.ClientTLS(nil).GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return *c
}

// A fleet that has ended cannot store: the report is not acknowledged, and the device hears it by losing the connection.
func TestReportThatCannotBeStored(t *testing.T) {
	p, _ := embedded(t)
	d := mustConnect(t, p.world, p.address, "d-1", p.world.Device(t, "d-1", nil))
	p.world.Stop()
	d.paho.Publish(protocol.ReportTopic("d-1"), 1, false, fleettest.Report(t, "d-1", 1, nil))
	d.waitLost()
}

func TestBadPackets(t *testing.T) {
	p, _ := embedded(t)
	cert := p.world.Device(t, "d-1", nil)
	dial := func() *tls.Conn {
		c, err := tls.Dial("tcp", p.address, &tls.Config{RootCAs: p.world.Identity.Pool(), Certificates: []tls.Certificate{cert}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion, hello.ClientIdentifier, hello.CleanSession, hello.Keepalive = "MQTT", 4, "d-1", true, 60
	var connected bytes.Buffer
	if err := hello.Write(&connected); err != nil {
		t.Fatal(err)
	}
	for name, sent := range map[string][]byte{
		"256 MB before CONNECT": {0x10, 0xff, 0xff, 0xff, 0x7f},
		"256 MB after CONNECT":  append(bytes.Clone(connected.Bytes()), 0x30, 0xff, 0xff, 0xff, 0x7f),
		"no CONNECT":            {0xc0, 0},
		"junk":                  []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		c := dial()
		if _, err := c.Write(sent); err != nil {
			t.Fatal(name, err)
		}
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err != nil {
			var n net.Error
			if errors.As(err, &n) && n.Timeout() {
				t.Errorf("%s: the connection stays", name)
			}
		}
	}
	// The broker still works.
	mustConnect(t, p.world, p.address, "d-1", cert)
}

// Connections that say nothing do not keep the broker from ending.
func TestEndWithSilentConnections(t *testing.T) {
	p, _ := embedded(t)
	for range 3 {
		c, err := net.Dial("tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	mustConnect(t, p.world, p.address, "d-1", p.world.Device(t, "d-1", nil))
}
