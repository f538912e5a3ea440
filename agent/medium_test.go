package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

func TestBestOf(t *testing.T) {
	sys := t.TempDir()
	for path, content := range map[string]string{
		"eth0/device/x": "", "eth0/uevent": "INTERFACE=eth0\n",
		"wlan0/device/x": "", "wlan0/phy80211/x": "", "wlan0/uevent": "DEVTYPE=wlan\n",
		"old0/device/x": "", "old0/wireless/x": "",
		"wwan0/device/x": "", "wwan0/uevent": "DEVTYPE=wwan\n",
		"br0/bridge/x": "", "br0/uevent": "DEVTYPE=bridge\n",
	} {
		at := filepath.Join(sys, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		names []string
		want  protocol.Link
	}{
		{nil, ""},
		{[]string{"br0", "gone0"}, ""},
		{[]string{"br0", "wwan0"}, protocol.LinkCellular},
		{[]string{"wwan0", "wlan0"}, protocol.LinkWifi},
		{[]string{"old0"}, protocol.LinkWifi},
		{[]string{"wlan0", "eth0", "wwan0"}, protocol.LinkWired},
	} {
		if got := bestOf(sys, c.names); got != c.want {
			t.Errorf("%v: %q, want %q", c.names, got, c.want)
		}
	}
	if got := LinkOf(&Config{Mesh: Mesh{Link: protocol.LinkBattery}}); got != protocol.LinkBattery {
		t.Errorf("the configuration says battery, it is %q", got)
	}
}
