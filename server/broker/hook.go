package broker

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/identity"
)

// hook is all that the broker decides: who comes in, who reads and writes what, and where reports go.
type hook struct {
	mqtt.HookBase
	fleet  Fleet
	seen   func(device, remote string)
	log    *slog.Logger
	ingest func(device string, report []byte, address string) error // set before the broker serves

	mu       sync.Mutex
	sessions map[string]session // client id → its newest connection
}

type session struct {
	client *mqtt.Client
	key    string // of its certificate
}

func newHook(f Fleet, seen func(device, remote string), log *slog.Logger) *hook {
	if seen == nil {
		seen = func(string, string) {}
	}
	return &hook{fleet: f, seen: seen, log: log, sessions: map[string]session{}}
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "waxwing" }

// Provides implements mqtt.Hook.
func (h *hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish, mqtt.OnDisconnect, mqtt.OnPublish, mqtt.OnWill,
	}, b) >= 0
}

// certificate returns the verified certificate of a connection.
func certificate(cl *mqtt.Client) *x509.Certificate {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return nil
	}
	state := c.ConnectionState()
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	return state.PeerCertificates[0]
}

// isServer reports whether a client is the server itself. Its inline client never comes here.
func isServer(c *x509.Certificate) bool { return c.Subject.CommonName == identity.ServerName }

// OnConnect implements mqtt.Hook: no connection is for ever. mochi ends one after one and a half times the keep-alive,
// computed in 16 bits.
func (h *hook) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	switch k := cl.State.Keepalive; {
	case k == 0:
		cl.State.Keepalive = 3600
	case k > 40_000:
		cl.State.Keepalive = 40_000
	}
	return nil
}

// OnConnectAuthenticate implements mqtt.Hook.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c := certificate(cl)
	if c == nil {
		return false
	}
	if isServer(c) {
		return true
	}
	device := c.Subject.CommonName
	// Another client id would take over another device's session.
	if cl.ID != device {
		h.log.Warn("a device came with a client id that is not its own", "device", device, "client_id", cl.ID, "remote", cl.Net.Remote)
		return false
	}
	// mochi publishes a will without asking whether it may.
	if pk.Connect.WillFlag && pk.Connect.WillTopic != protocol.PresenceTopic(device) {
		h.log.Warn("a device came with a will for a topic that is not its presence", "device", device, "topic", pk.Connect.WillTopic)
		return false
	}
	if _, err := h.fleet.Authenticate(device, identity.KeyID(c)); err != nil {
		h.log.Info("a device was refused", "device", device, "reason", err)
		return false
	}
	return true
}

// OnACLCheck implements mqtt.Hook.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	h.mu.Lock()
	s, ok := h.sessions[cl.ID]
	h.mu.Unlock()
	switch {
	case !ok:
		return false
	case s.key == "": // the server
		return true
	case write:
		return mayWrite(cl.ID, topic)
	}
	return mayRead(cl.ID, topic, h.fleet.Member)
}

// OnSessionEstablish implements mqtt.Hook.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	c := certificate(cl)
	s := session{client: cl}
	if !isServer(c) {
		s.key = identity.KeyID(c)
	}
	h.mu.Lock()
	h.sessions[cl.ID] = s
	h.mu.Unlock()
	if s.key == "" {
		return
	}
	h.seen(cl.ID, cl.Net.Remote)
	h.fleet.Presence(cl.ID, true)
	// A device that was rejected between the handshake and now was not in the table when the news came.
	if _, err := h.fleet.Authenticate(cl.ID, s.key); err != nil {
		cl.Stop(packets.ErrNotAuthorized)
	}
}

// OnDisconnect implements mqtt.Hook.
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	h.mu.Lock()
	s, ok := h.sessions[cl.ID]
	last := ok && s.client == cl // else the device is back on another connection already
	if last {
		delete(h.sessions, cl.ID)
	}
	h.mu.Unlock()
	if last && s.key != "" {
		h.fleet.Presence(cl.ID, false)
	}
}

// OnWill implements mqtt.Hook: the will of a connection that a newer one has replaced does not make the device offline.
func (h *hook) OnWill(cl *mqtt.Client, w mqtt.Will) (mqtt.Will, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.sessions[cl.ID]; ok && s.client != cl {
		w.Payload = []byte(protocol.Online)
	}
	return w, nil
}

// OnPublish implements mqtt.Hook. It runs in the goroutine that reads from the device, before PUBACK is sent.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil
	}
	device, kind, ok := deviceOf(pk.TopicName)
	if !ok || device != cl.ID {
		return pk, nil // the server's own
	}
	switch kind {
	case kindReport:
		pk.FixedHeader.Retain = false
		err := h.ingest(device, pk.Payload, cl.Net.Remote)
		switch {
		case err == nil:
			return pk, nil
		case never(err):
			h.log.Warn("a report was refused", "device", device, "reason", err)
			return pk, packets.CodeSuccessIgnore // acknowledged, or it would come again for ever
		}
		// Not acknowledged: the device sends it again on its next connection.
		h.log.Error("a report could not be stored", "device", device, "error", err)
		cl.Stop(packets.ErrServerUnavailable)
		return pk, packets.ErrRejectPacket
	case kindPresence:
		if p := string(pk.Payload); p == protocol.Online || p == protocol.Offline {
			h.fleet.Presence(device, p == protocol.Online)
			return pk, nil
		}
	}
	return pk, packets.CodeSuccessIgnore // of a newer agent, perhaps; nothing is kept that nobody knows
}

// review ends the connections of devices that are no longer welcome.
func (h *hook) review(ids []string) {
	for _, id := range ids {
		h.mu.Lock()
		s, ok := h.sessions[id]
		h.mu.Unlock()
		if !ok || s.key == "" {
			continue
		}
		if _, err := h.fleet.Authenticate(id, s.key); err != nil {
			h.log.Info("a device was disconnected", "device", id, "reason", err)
			s.client.Stop(packets.ErrNotAuthorized)
		}
	}
}

func (h *hook) kick(device string) {
	h.mu.Lock()
	s, ok := h.sessions[device]
	h.mu.Unlock()
	if ok {
		s.client.Stop(packets.ErrAdministrativeAction)
	}
}

func (h *hook) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}
