// Package site knows which devices share one uplink, introduces them to each other, and sees to it that two of them do not
// fetch the same bytes.
//
//	sites := site.New(site.Options{Fleet: f})
//	go sites.Run(ctx, publisher)                       // follows the fleet, publishes hints
//	sites.Seen("d-1", "203.0.113.7:5000", true)        // from broker and device plane: whence it speaks
//	hint := sites.Document("d-1")                      // protocol.Site for those that MQTT does not reach
//	lease, err := sites.Lease("d-1", request)          // from the device plane, before it serves bytes of the repository
//
// # What a site is
//
// The devices with the same label site; else those whose configuration names the same site; else those that are seen
// behind the same public address, an IPv4 address or a /64 of IPv6. Where a load balancer hides the addresses of devices,
// all of them seem to be one site: say [ByLabel] then. (Of more than 4,096 devices none is introduced or held up.) A site is a guess about who may reach whom and never evidence: who
// a neighbour is its certificate says, and what it gives is proven by digest.
//
// # Hints
//
// Devices that are online and willing to share say in their reports where their exchange listens. Each is told up to
// sixteen others, by MQTT as a retained message only it may read and by HTTPS among its documents. The choice is that of a
// ring with fingers ([choose]): all devices of a site hang together, lists overlap, and a device that comes or goes
// changes the lists of a few dozen others, however large the site is. Changes are gathered for a second, and a device
// gets one message in fifteen seconds at most, so a site of n devices costs O(n) messages even when all start at once.
// Addresses that no LAN has are left out, unless both devices are seen behind that very address; so the loopback counts
// only for devices that reach the server over it.
//
// # Leases
//
// A device that takes part ([protocol.HeaderLease]) gets a lease on each range of the repository that it fetches. Another
// device of its site that asks for the same is refused while the lease is fresh, and told who holds it: it will find
// the holder and take the bytes from there. That makes "once over the uplink" hold when devices do not see each other,
// because multicast is blocked or the LAN has several subnets.
//
// A lease never blocks. It is in memory only and bounded in number; it ends when the holder is no longer online, stands
// still, or some minutes after the bytes went out. Who cannot reach the holder says so ([protocol.HeaderIsolated]) and is served, then and
// for some minutes; who has waited in vain is served too, and after several waits with all that the holder has. A holder that two devices cannot reach loses its leases. Where
// several islands of one site cannot reach each other, each has a holder of its own.
//
// # What neighbours save
//
// [Sites.View] compares the uplink with what the devices would have fetched had each fetched alone ([Update].Alone). The
// server gives chunks compressed, or patches; neighbours give plain chunks. So what a device had from neighbours counts as
// compressed as its release is, and all that it had as no more than the patches from its base, or the whole release. Each
// doubt is decided for the lower number.
//
// # Who gave to whom
//
// Devices say from which neighbours they had their update, and why they asked the server. [ExchangeOf] gathers that for one
// release as a table whose rows and columns add up to the bytes that the devices count; what they do not tell is a row of
// its own. It is what the takers say, and nothing is done because of it.
//
// # What can go wrong
//
// A device can name any site in its configuration, and so be told the addresses of the devices there and hold up others for
// some seconds each; the label of an operator goes before what it says. A device that lies about what it holds or cannot
// reach costs its own site bytes or seconds. Nothing that is said here makes a device believe or run anything.
package site
