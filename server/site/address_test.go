package site

import (
	"net/netip"
	"testing"

	"github.com/waxwing-ota/waxwing/firmware"
)

func TestIdentify(t *testing.T) {
	for _, c := range []struct {
		label, configured, remote string
		mode                      Mode
		id, name                  string
	}{
		{remote: "203.0.113.7:4000", id: "at-203.0.113.7", name: "203.0.113.7"},
		{remote: "203.0.113.7", id: "at-203.0.113.7", name: "203.0.113.7"},
		{remote: "[::ffff:203.0.113.7]:4000", id: "at-203.0.113.7", name: "203.0.113.7"},
		{remote: "[2001:db8:1:2:3:4:5:6]:4000", id: "at-2001-0db8-0001-0002", name: "2001:db8:1:2::/64"},
		{remote: "2001:db8:1:2::9", id: "at-2001-0db8-0001-0002", name: "2001:db8:1:2::/64"},
		{remote: "fe80::1%eth0", id: "at-fe80-0000-0000-0000", name: "fe80::/64"},
		{label: "oslo", configured: "rome", remote: "203.0.113.7", id: "oslo", name: "oslo"},
		{configured: "rome", remote: "203.0.113.7", id: "rome", name: "rome"},
		{label: "Gate 7, Oslo", id: "label-1a0bf85b5b0f3f9f", name: "Gate 7, Oslo"},
		{label: "at-203.0.113.7", id: "label-", name: "at-203.0.113.7"},
		{label: "oslo", mode: ByLabel, remote: "203.0.113.7", id: "oslo", name: "oslo"},
		{mode: ByLabel, remote: "203.0.113.7"},
		{label: "oslo", mode: Off},
		{remote: "pipe"},
		{},
	} {
		mode := c.mode
		if mode == "" {
			mode = Auto
		}
		id, name := identify(c.label, c.configured, seenAs(c.remote), mode)
		hashed := len(c.id) >= len(labelPrefix) && c.id[:len(labelPrefix)] == labelPrefix && len(id) == len(labelPrefix)+16
		if id != c.id && !hashed || name != c.name {
			t.Errorf("%+v: %q %q", c, id, name)
		}
		if id != "" && firmware.CheckName("site", id) != nil {
			t.Errorf("%+v: %q is no name", c, id)
		}
	}
}

func TestUsable(t *testing.T) {
	const public, six, loop = "203.0.113.7", "2001:db8:1:2::7", "127.0.0.1"
	for _, c := range []struct {
		at, owner, reader string
		want              bool
	}{
		{"10.0.0.5:1", public, public, true},
		{"192.168.1.5:1", public, "198.51.100.9", true}, // a site with two uplinks, by label
		{"172.17.0.1:1", "", "", true},
		{"169.254.3.4:1", public, public, true},
		{"100.100.3.4:1", public, public, true},
		{"[fd00::5]:1", public, public, true},
		{"[fe80::5]:1", six, six, false},
		{"10.0.0.5:0", public, public, false},
		{"203.0.113.7:1", public, public, true},
		{"203.0.113.7:1", public, "198.51.100.9", false},
		{"203.0.113.8:1", public, public, false},
		{"8.8.8.8:53", public, public, false},
		{"[2001:db8:1:2::5]:1", six, "2001:db8:1:2::9", true},
		{"[2001:db8:1:3::5]:1", six, six, false},
		{"[2001:db8:1:2::5]:1", public, public, false},
		{"127.0.0.1:1", loop, loop, true},
		{"127.0.0.1:1", public, public, false},
		{"127.0.0.1:1", loop, public, false},
		{"[::1]:1", "::1", "::1", true},
		{"[::1]:1", six, six, false},
		{"224.0.0.251:5353", "224.0.0.251", "224.0.0.251", false},
		{"[ff02::fb]:5353", six, six, false},
		{"0.0.0.0:1", "0.0.0.0", "0.0.0.0", false},
		{"255.255.255.255:1", public, public, false},
	} {
		if got := usable(netip.MustParseAddrPort(c.at), seenAs(c.owner), seenAs(c.reader)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
