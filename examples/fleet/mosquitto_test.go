package fleet

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/server/identity"
)

// mosquitto is Debian's broker, set up as the comment of package server/broker tells an operator to.
type mosquitto struct {
	conf, address string
	cmd           *exec.Cmd
	log           *os.File
}

const (
	mosquittoConf = `listener %d 127.0.0.1
cafile %[2]s/ca.pem
certfile %[2]s/cert.pem
keyfile %[2]s/key.pem
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file %[2]s/acl
message_size_limit 327680
`
	mosquittoACL = `user waxwing-server
topic readwrite waxwing/v1/#
pattern write waxwing/v1/device/%u/#
pattern read waxwing/v1/policy/device/%u
pattern read waxwing/v1/policy/group/+
`
)

// newMosquitto starts a broker with a certificate of the fleet CA that lies, or will be made, in a server's data folder.
func newMosquitto(t *testing.T, dir string) *mosquitto {
	t.Helper()
	if _, err := find("mosquitto"); err != nil {
		needs.Lack(t, "mosquitto is missing; apt-get install mosquitto")
	}
	ca, err := identity.Open(identity.Options{Dir: filepath.Join(dir, "server", "identity")})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.ServerTLS([]string{"127.0.0.1"}).GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	home, err := os.MkdirTemp("", "waxwing-mosquitto-") // as root, mosquitto becomes its own user, who cannot read t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	m := &mosquitto{conf: filepath.Join(home, "mosquitto.conf"), address: l.Addr().String()}
	if m.log, err = os.Create(filepath.Join(dir, "mosquitto.log")); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"ca.pem":         ca.PEM(),
		"cert.pem":       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		"key.pem":        pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
		"acl":            []byte(mosquittoACL),
		"mosquitto.conf": fmt.Appendf(nil, mosquittoConf, l.Addr().(*net.TCPAddr).Port, home),
	} {
		if err := os.WriteFile(filepath.Join(home, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.kill(); _ = m.log.Close() })
	return m
}

func (m *mosquitto) start(t *testing.T) {
	t.Helper()
	program, err := find("mosquitto")
	if err != nil {
		t.Fatal(err)
	}
	m.cmd = exec.Command(program, "-v", "-c", m.conf)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := await(t.Context(), "mosquitto listens", 10*time.Second, func() (bool, error) {
		c, err := net.Dial("tcp", m.address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil, err
	}); err != nil {
		t.Fatal(err)
	}
}

func (m *mosquitto) kill() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait() // "signal: killed"
		m.cmd = nil
	}
}

// TestMosquitto plays with Debian's broker instead of the embedded one. A release goes out in stages; the broker is
// killed, and the next release goes out all the same, by HTTPS; the broker comes back without its memory, everybody
// connects again, and a third release goes out by MQTT.
func TestMosquitto(t *testing.T) {
	dir := t.TempDir()
	m := newMosquitto(t, dir)
	m.start(t)
	const devices = 3
	f := start(t, Options{Dir: dir, Devices: devices, Image: 32, Server: []string{"--mqtt-broker", "tls://" + m.address}})
	online := func() int {
		o, err := f.API.GetOverviewWithResponse(t.Context())
		if err != nil || o.JSON200 == nil {
			return -1
		}
		return o.JSON200.Online
	}
	for _, chapter := range []struct {
		version string
		broker  bool
		flags   []string
	}{
		{First, true, nil},
		{"1.1.0", false, []string{"--probe", "health"}}, // the other probe asks for a broker
		{"1.2.0", true, nil},
	} {
		if chapter.broker && m.cmd == nil {
			m.start(t)
		} else if !chapter.broker {
			m.kill()
		}
		if chapter.broker {
			f.await(t, "all devices at the broker", func() bool { return online() == devices })
		}
		release, err := f.Release(t.Context(), chapter.version, true)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		id, err := f.Begin(t.Context(), chapter.version, "1,100%", chapter.flags...)
		if err != nil {
			t.Fatal(err)
		}
		result, err := f.Finish(t.Context(), id, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		result.Release = release
		result.Print(t.Output())
		t.Logf("%s took %s with a broker: %v", chapter.version, time.Since(began).Round(time.Second/10), chapter.broker)
		if err := f.judge(t.Context(), result, true); err != nil {
			t.Fatalf("%s: %v", chapter.version, err)
		}
	}
}
