package broker_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/server/broker"
	"github.com/waxwing-ota/waxwing/server/fleet/fleettest"
)

// What the package comment tells an operator to write.
const (
	mosquittoConf = `listener %d 127.0.0.1
cafile %s/ca.pem
certfile %s/cert.pem
keyfile %s/key.pem
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file %s/acl
message_size_limit 327680
`
	mosquittoACL = `user waxwing-server
topic readwrite waxwing/v1/#
pattern write waxwing/v1/device/%u/#
pattern read waxwing/v1/policy/device/%u
pattern read waxwing/v1/policy/group/+
pattern read waxwing/v1/site/%u
`
)

// mosquitto is Debian's broker in a child process, set up as the package comment says.
type mosquitto struct {
	t       *testing.T
	dir     string
	address string
	cmd     *exec.Cmd
}

func newMosquitto(t *testing.T, w *fleettest.World) *mosquitto {
	t.Helper()
	if _, err := exec.LookPath("mosquitto"); err != nil {
		needs.Lack(t, "mosquitto is missing; apt-get install mosquitto")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mosquitto{t: t, dir: t.TempDir(), address: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cert, err := w.Identity.ServerTLS(nil).GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"ca.pem":         w.Identity.PEM(),
		"cert.pem":       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		"key.pem":        pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
		"acl":            []byte(mosquittoACL),
		"mosquitto.conf": fmt.Appendf(nil, mosquittoConf, l.Addr().(*net.TCPAddr).Port, m.dir, m.dir, m.dir, m.dir),
	} {
		if err := os.WriteFile(filepath.Join(m.dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// As root, mosquitto becomes its own user, who must be able to read these.
	for d := m.dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.start()
	t.Cleanup(m.stop)
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.cmd = exec.Command("mosquitto", "-c", filepath.Join(m.dir, "mosquitto.conf"))
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	fleettest.Eventually(m.t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", m.address)
		return err == nil && c.Close() == nil
	})
}

func (m *mosquitto) stop() {
	if m.cmd == nil {
		return
	}
	if err := m.cmd.Process.Kill(); err != nil {
		m.t.Error(err)
	}
	var killed *exec.ExitError
	if err := m.cmd.Wait(); err != nil && !errors.As(err, &killed) {
		m.t.Error(err)
	}
	m.cmd = nil
}

func TestMosquitto(t *testing.T) {
	w := fleettest.New(t)
	m := newMosquitto(t, w)
	var mirror *broker.Mirror
	connected := make(chan struct{}, 16)
	c, err := broker.NewClient(broker.ClientOptions{
		Broker: "tls://" + m.address, TLS: w.Identity.ClientTLS(nil), Fleet: w.Fleet,
		Connected: func() { mirror.Republish(); connected <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	mirror = broker.NewMirror(broker.MirrorOptions{Store: w.Store, Publisher: c})
	fleettest.Run(t, mirror.Run)
	fleettest.Run(t, c.Run)
	<-connected
	conformance(t, &place{world: w, server: c, address: m.address, kind: "mosquitto"})

	t.Run("a broker that forgot everything is filled again", func(t *testing.T) {
		cert := w.Device(t, "d-7", nil)
		m.stop()
		putPolicy(t, w.Store, "all", "while away")
		m.start()
		<-connected
		d := mustConnect(t, w, m.address, "d-7", cert)
		for _, topic := range []string{protocol.DevicePolicyTopic("d-7"), protocol.GroupPolicyTopic("all")} {
			if err := d.subscribe(topic); err != nil {
				t.Fatal(err)
			}
		}
		fleettest.Eventually(t, "the documents", func() bool { return len(d.holds(protocol.DevicePolicyTopic("d-7"))) > 0 })
		fleettest.Eventually(t, "the policy", func() bool { return string(d.holds(protocol.GroupPolicyTopic("all"))) == "while away" })
		d.publish(protocol.ReportTopic("d-7"), fleettest.Report(t, "d-7", 1, nil), false)
		fleettest.Eventually(t, "the report", func() bool {
			v, err := w.View(t.Context(), "d-7")
			return err == nil && v.State.Report.Seq == 1
		})
	})
}
