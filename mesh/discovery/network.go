package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

const (
	maxAnnounced = 4  // addresses of a family in an announcement
	maxNetworks  = 32 // a gateway may have thousands
)

// network is an interface as it is now.
type network struct {
	net.Interface
	prefixes []netip.Prefix // its addresses
}

// key is another when the interface or one of its addresses is.
func (n network) key() string { return fmt.Sprint(n.Index, n.Name, n.prefixes) }

func (n network) loopback() bool { return n.Flags&net.FlagLoopback != 0 }

// speaks reports whether a family is of use. The loopback has no route for multicast of IPv6, and needs none.
func (n network) speaks(f family) bool {
	return slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool {
		return p.Addr().Is4() == (f == v4)
	}) && (f == v4 || !n.loopback() || !n.speaks(v4))
}

// announced returns the addresses to tell, for programs that resolve names.
func (n network) announced() (out []net.IP) {
	var count [families]int
	for _, p := range n.prefixes {
		f := familyOf(p.Addr())
		if count[f]++; count[f] <= maxAnnounced {
			out = append(out, p.Addr().AsSlice())
		}
	}
	return out
}

// sources returns the addresses of IPv4 to speak from, one of each network: a neighbour may be in another one than the first.
func (n network) sources() (out []netip.Addr) {
	var seen []netip.Prefix
	for _, p := range n.prefixes {
		if p.Addr().Is4() && !slices.Contains(seen, p.Masked()) && len(seen) < maxAnnounced {
			seen = append(seen, p.Masked())
			out = append(out, p.Addr())
		}
	}
	return out
}

// onLink reports whether an address is one that a device on this link can have: traffic to it never leaves the link.
func (n network) onLink(ip netip.Addr) bool {
	if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLoopback() && !n.loopback() {
		return false
	}
	if z := ip.Zone(); z != "" && z != n.Name {
		return false
	}
	return slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Contains(ip.WithZone("")) })
}

// networks returns the interfaces to use, by key: those named, or else all that can multicast to others, but those with a
// single other end, such as modems and tunnels, where there are no neighbours and bytes may cost. All must be up, plugged in
// and have an address.
func networks(names []string) map[string]network {
	out := map[string]network{}
	all, _ := net.Interfaces() // none: no neighbours
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
			continue
		}
		if len(names) > 0 && !slices.Contains(names, i.Name) {
			continue
		}
		if len(names) == 0 && (i.Flags&net.FlagMulticast == 0 || i.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0) {
			continue
		}
		n := network{Interface: i}
		addrs, _ := i.Addrs() // none: not usable
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				n.prefixes = append(n.prefixes, p)
			}
		}
		if len(n.prefixes) > 0 && len(out) < maxNetworks {
			slices.SortFunc(n.prefixes, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
			out[n.key()] = n
		}
	}
	return out
}
