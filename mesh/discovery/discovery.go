// Package discovery finds the neighbours of a device: agents of the same fleet on the same link, by mDNS service discovery
// (RFC 6762, RFC 6763) under _waxwing._tcp.
//
// # What is said
//
// A device says a random instance name, a port, its addresses, the version of the protocol and the tag of its fleet; nothing
// about its model or what it runs. What it hears is a hint: who a neighbour is, its certificate proves later (mesh/exchange).
// hashicorp/mdns makes the records; the sockets are this package's own, as that library asks and answers on one interface
// chosen by the default route, answers each asker apart, and neither announces nor says goodbye.
//
// # Where
//
// On each interface that is up and plugged in, over IPv4 and IPv6, with or without a default route; those with a single other
// end (modems, tunnels) only when they are named. A change of links or addresses is seen within a second by netlink on
// Linux, and within a minute elsewhere. Where IPv6 is off, IPv4 is enough, and the other way round. A neighbour over IPv6 has
// its link-local address, with the zone that it takes to dial it; one that is heard over IPv4 too is shown at that address
// only, until the caller finds that it does not answer there. On the loopback IPv6 is spoken only where there is no IPv4.
//
// # When
//
// A device announces itself three times when a link comes up, and says goodbye at the end. It asks after 0, 1, 3, 7 … 63 s,
// naming up to 32 of those it knows, who need not answer; then, in doubling intervals up to four hours, it asks all. One
// device's question serves the whole site, as all answers go to all, and no device gives more than three in three seconds.
// Who leaves three questions without an answer is forgotten, or six when the caller has judged it good; while somebody is
// missing, questions follow each other every two seconds. A good one that fails (see [Verdict]) and the caller's wish to know
// ([Options.Look]) make it ask at once: the interval says how long a dead device may be listed in a site that does nothing.
// Nothing is concluded while packets are dropped.
//
// TestCost holds what that costs a site of twenty in which nothing happens: 40 KB a month sent by each device, and 790 KB on
// the LAN. Sixty devices that start in the same moment need 350 KB of the LAN in the first minute.
//
// # Whom not to believe
//
// Where a neighbour is, its packets tell: from an address of the link's own networks, straight from the link (hop limit 255),
// to the group. So a device can announce nobody but itself, unless it forges packets. Of each address 50 packets a second are
// decoded, of all 300, and 5,000 are read; the kernel drops the rest, and for ten seconds all from an address that goes on. 256
// neighbours are remembered; when there are more, strangers go, those first who claim many ports at one address (eight at
// most), and never one that the caller has judged good. Strangers are shown 32 at a time when the caller judges them. A false
// goodbye does nothing, or is answered by whom it concerns. Whoever forges addresses can keep strangers from being found while
// he floods; he costs a bounded amount, and good neighbours stay.
package discovery

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// Forget is how long an introduced neighbour is believed to be there, if it is neither heard nor introduced again.
const Forget = 90 * time.Second

// Options configure Run.
type Options struct {
	Fleet      string   // tag; only the same one is heard
	Port       int      // of this device's exchange
	Interfaces []string // names; empty: all that are up and can multicast to several
	// Introduced are neighbours that were met in another way. They are believed as those that were heard. May be nil.
	Introduced <-chan netip.AddrPort
	// Judged tells how it goes with the neighbours that were found. Nil: nobody judges, and all strangers are shown at once.
	Judged <-chan Verdict
	// Loud hears of an address that said too much and is not listened to for ten seconds, or of the group when more came from
	// many addresses than is read. A forged packet names whoever its sender likes. It must not block, and may be nil.
	Loud func(netip.Addr)
	// Look asks anew who is there, for instance because an update begins. May be nil.
	Look <-chan struct{}
	Log  *slog.Logger
}

// Verdict is what the caller learnt of an address. Good: a device of the fleet answers there. Otherwise the address is not
// shown for half a minute, longer each time; and if it was good, all are asked who is still there.
type Verdict struct {
	At   netip.AddrPort
	Good bool
}

// Found is called with the addresses of all neighbours in sight, whenever they change. It must not block. One device may be
// there several times, for instance on two links.
type Found func([]netip.AddrPort)

// Run announces this device and looks for others until ctx ends. An interface on which that does not work is logged and
// left out; with none at all the device simply has no neighbours.
func Run(ctx context.Context, o Options, found Found) error {
	var name [nameDigits / 2]byte
	_, _ = rand.Read(name[:]) // never fails
	g, ctx := errgroup.WithContext(ctx)
	changes := make(chan map[string]network)
	g.Go(func() error { return watch(ctx, o, changes) })
	g.Go(func() error {
		r := newRoom(o, hex.EncodeToString(name[:]), found)
		defer r.close()
		return r.run(ctx, changes)
	})
	return g.Wait()
}
