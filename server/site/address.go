package site

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/waxwing-ota/waxwing/firmware"
)

// seenAs returns the address in the remote end of a connection, with or without a port; the zero one if there is none.
func seenAs(remote string) netip.Addr {
	if p, err := netip.ParseAddrPort(remote); err == nil {
		return p.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(remote)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// network returns what hosts behind one uplink share of their public address: an IPv4 address, a /64 of IPv6. The zero
// prefix for no address.
func network(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // fails for the zero address, with the zero prefix
	return p
}

// Prefixes of ids, so that labels and addresses are never mistaken for each other.
const (
	atPrefix    = "at-"
	labelPrefix = "label-"
)

// Identify names the site of a device: an id that is a name and fits into a URL, and what people call it. Both are empty
// when nothing is known. The label goes before the name in the device's configuration, that before the address.
func identify(label, configured string, seen netip.Addr, mode Mode) (id, name string) {
	if mode == Off {
		return "", ""
	}
	if label == "" {
		label = configured
	}
	switch {
	case label != "" && firmware.CheckName("site", label) == nil && !strings.HasPrefix(label, atPrefix) && !strings.HasPrefix(label, labelPrefix):
		return label, label
	case label != "":
		sum := sha256.Sum256([]byte(label))
		return labelPrefix + hex.EncodeToString(sum[:8]), label
	case mode == ByLabel || !seen.IsValid():
		return "", ""
	}
	p := network(seen)
	if seen.Is4() {
		return atPrefix + p.Addr().String(), p.Addr().String()
	}
	return atPrefix + strings.Trim(strings.ReplaceAll(p.Addr().StringExpanded()[:len("0000:0000:0000:0000")], ":", "-"), "-"), p.String()
}

// shared is what carriers give to networks behind them (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// usable reports whether a device may be told an address of another one. Ordinarily it is one that LANs use; any other
// one, such as a public IPv6 address or the loopback, counts when both are seen behind it.
func usable(at netip.AddrPort, owner, reader netip.Addr) bool {
	a := at.Addr()
	switch {
	case at.Port() == 0 || !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return false
	case a.Is6() && a.IsLinkLocalUnicast(): // means nothing without an interface of the reader
		return false
	case a.IsPrivate() || a.IsLinkLocalUnicast() || shared.Contains(a):
		return true
	}
	n := network(a)
	return n.Contains(owner) && n.Contains(reader)
}
