// Package site is a real LAN with a slow uplink, made of network namespaces: real programs run in it unchanged, and what
// they cost is read from the interfaces. It needs Linux, root, and ip and tc (Debian's iproute2); NAT needs nft (nftables).
//
//	cloud ── wan ─────── hub ── lan  ─┬─ device 0, 2, …   10.77.0.1, …   eth0
//	10.99.0.2  (shaped)  router       └─ …
//	                      └──── lan2 ─── device 1, 3, …   10.77.1.1, …   with Options.Subnets 2
//
// The hub is the site's switch and router in one: a bridge for each subnet, and the way out of the site. Every device has
// one interface, eth0, with an IPv4 address and an IPv6 one (fd77::/16, unique local), and the hub as its router. The
// uplink has one rate in each direction, kept by tc's token bucket on both of its ends.
//
// The namespaces have no names. Open files of this process hold them, and the processes in them are killed with this one
// by the kernel, so nothing is left behind however this process ends: no process, no interface, no namespace. Nothing of
// the host's own network is touched.
//
// A thread of this process enters a namespace to do something there; a [Namespace] starts programs, dials and reads
// counters that way. /sys shows the interfaces of the namespace that mounted it, therefore counters come from /proc/net.
package site
