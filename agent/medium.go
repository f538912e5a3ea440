package agent

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// LinkOf returns what bytes to neighbours cost here: what the configuration says, or else what the kernel knows of the
// interfaces that are up. One that is wired is enough to be wired. Empty: not known.
func LinkOf(c *Config) protocol.Link {
	if c.Mesh.Link != "" {
		return c.Mesh.Link
	}
	all, _ := net.Interfaces() // none: not known
	var names []string
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 && (len(c.Mesh.Interfaces) == 0 || slices.Contains(c.Mesh.Interfaces, i.Name)) {
			names = append(names, i.Name)
		}
	}
	return bestOf("/sys/class/net", names)
}

// bestOf reads what sysfs says of interfaces (Documentation/ABI/testing/sysfs-class-net): those of Wi-Fi have a phy80211,
// modems name themselves wwan, and what has a device and is neither is wired. Bridges and tunnels have none and say nothing.
func bestOf(sys string, names []string) (best protocol.Link) {
	order := []protocol.Link{protocol.LinkWired, protocol.LinkWifi, protocol.LinkCellular, ""}
	best = ""
	for _, name := range names {
		link := protocol.Link("")
		dir := filepath.Join(sys, name)
		uevent, _ := os.ReadFile(filepath.Join(dir, "uevent")) // none: nothing is known
		switch {
		case exists(filepath.Join(dir, "phy80211")) || exists(filepath.Join(dir, "wireless")):
			link = protocol.LinkWifi
		case bytes.Contains(uevent, []byte("DEVTYPE=wwan")):
			link = protocol.LinkCellular
		case exists(filepath.Join(dir, "device")):
			link = protocol.LinkWired
		}
		if slices.Index(order, link) < slices.Index(order, best) {
			best = link
		}
	}
	return best
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
