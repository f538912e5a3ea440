package protocol

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Mesh is what a device says of its exchange with neighbours. It is for the server, which tells the addresses to devices
// of the same site and to nobody else.
type Mesh struct {
	Addresses []string `json:"addresses,omitempty"` // host:port where its exchange listens
	Share     bool     `json:"share"`               // the server may introduce it to its neighbours
	Link      Link     `json:"link,omitempty"`      // that it has to them
	Site      string   `json:"site,omitempty"`      // that its configuration names
	Depot     *Depot   `json:"depot,omitempty"`     // nil: it is an ordinary device
}

// Link is the kind of a device's connection.
type Link string

// The links there are; empty: not known.
const (
	LinkWired    Link = "wired"
	LinkWifi     Link = "wifi"
	LinkCellular Link = "cellular"
	LinkBattery  Link = "battery" // each byte costs charge, whatever it goes over
)

// Valid reports whether a link is one of those there are, or not known.
func (l Link) Valid() bool {
	switch l {
	case "", LinkWired, LinkWifi, LinkCellular, LinkBattery:
		return true
	}
	return false
}

// Bounds of what is said about sites.
const (
	MaxAddresses = 8  // of one device
	MaxPeers     = 16 // in a Site
	MaxIsolated  = 8  // in a Report
	maxAddress   = 64 // bytes
	maxHolder    = 1 << 10
)

// Site is a hint of the server: who else is at this device's site. Nothing is believed because it stands here; who
// answers at an address, its certificate says.
type Site struct {
	Schema int    `json:"schema"` // 1
	Device string `json:"device"` // whom it is for
	Site   string `json:"site"`
	Epoch  string `json:"epoch"` // names this list
	Peers  []Peer `json:"peers"` // at most MaxPeers; for larger sites a part, so chosen that all hang together
}

// Peer is another device and where its exchange may be reached.
type Peer struct {
	Device    string   `json:"device"`
	Addresses []string `json:"addresses"` // host:port
}

// ParseSite reads and bounds a Site for a device. What is too much of it is left out.
func ParseSite(b []byte, device string) (*Site, error) {
	if len(b) > MaxDocument {
		return nil, fmt.Errorf("site: %d bytes, over %d", len(b), MaxDocument)
	}
	s := new(Site)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	switch {
	case s.Schema != 1:
		return nil, fmt.Errorf("site: schema %d is not one that this program knows", s.Schema)
	case s.Device != device:
		return nil, fmt.Errorf("site: it is for %.64q", s.Device)
	case len(s.Epoch) > maxAddress:
		return nil, fmt.Errorf("site: an epoch of %d bytes", len(s.Epoch))
	}
	s.Peers = s.Peers[:min(len(s.Peers), MaxPeers)]
	for i := range s.Peers {
		p := &s.Peers[i]
		if err := firmware.CheckName("device", p.Device); err != nil {
			return nil, fmt.Errorf("site: %w", err)
		}
		p.Addresses = p.Addresses[:min(len(p.Addresses), MaxAddresses)]
	}
	return s, nil
}

// Headers of requests for chunks and for ranges of packs, below PathRepo. A server that knows them refuses (409) with a
// holder what another device of the site holds already, or is fetching; any other serves as if they were not there.
const (
	HeaderLease    = "Waxwing-Site-Lease" // from the device: it takes part; the Epoch of its list, or nothing
	HeaderIsolated = "Waxwing-Isolated"   // from the device: holders that it cannot reach, with commas between them
	HeaderHolder   = "Waxwing-Holder"     // from the server: "<device> <host:port>…"
)

// Holder is who has what was asked for.
type Holder struct {
	Device    string
	Addresses []netip.AddrPort
}

// String returns the value of HeaderHolder.
func (h Holder) String() string {
	words := []string{h.Device}
	for _, a := range h.Addresses {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

// ParseHolder reads the value of HeaderHolder.
func ParseHolder(s string) (h Holder, err error) {
	if len(s) > maxHolder {
		return h, fmt.Errorf("holder: %d bytes, over %d", len(s), maxHolder)
	}
	words := strings.Fields(s)
	if len(words) == 0 {
		return h, fmt.Errorf("holder: nobody is named")
	}
	h.Device = words[0]
	if err := firmware.CheckName("device", h.Device); err != nil {
		return Holder{}, fmt.Errorf("holder: %w", err)
	}
	h.Addresses = ParseAddresses(words[1:])
	return h, nil
}

// ParseAddresses returns the host:port that can be read, MaxAddresses at most. Names are none: nobody is asked for them.
func ParseAddresses(list []string) (out []netip.AddrPort) {
	for _, s := range list {
		if len(out) == MaxAddresses {
			break
		}
		if len(s) > maxAddress {
			continue
		}
		if a, err := netip.ParseAddrPort(s); err == nil {
			out = append(out, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
		}
	}
	return out
}

// ParseIsolated reads the value of HeaderIsolated; what is no name is left out.
func ParseIsolated(s string) (devices []string) {
	for d := range strings.SplitSeq(s[:min(len(s), maxHolder)], ",") {
		if d = strings.TrimSpace(d); len(devices) < MaxIsolated && firmware.CheckName("device", d) == nil {
			devices = append(devices, d)
		}
	}
	return devices
}

// boundSite cuts off what a report says too much of its site.
func (r *Report) boundSite() error {
	r.Isolated = r.Isolated[:min(len(r.Isolated), MaxIsolated)]
	for _, d := range r.Isolated {
		if err := firmware.CheckName("device", d); err != nil {
			return err
		}
	}
	m := r.Mesh
	if m == nil {
		return nil
	}
	m.Addresses = m.Addresses[:min(len(m.Addresses), MaxAddresses)]
	for i, a := range m.Addresses {
		m.Addresses[i] = a[:min(len(a), maxAddress)]
	}
	if m.Site != "" {
		if err := firmware.CheckName("site", m.Site); err != nil {
			return err
		}
	}
	if !m.Link.Valid() { // of a newer agent, perhaps
		m.Link = ""
	}
	return m.Depot.bound()
}
