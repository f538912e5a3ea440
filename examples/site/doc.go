// Package site measures what a rollout costs a site: real agents in network namespaces of their own, on one LAN, behind an
// uplink with a rate, and a real server on the other side of it (mesh/meshtest/site). It is the bench (cmd/bench-site, make
// bench-site) and a test at once.
//
// One run is: a server in the cloud, N devices enrolled and idle, one release of bytes that no device has and that do not
// compress, one rollout to all of them, until all have committed. Then:
//
//	uplink       what came into the site over the uplink meanwhile, with the headers of Ethernet and IP, replies to
//	             reports and all, read from the interface
//	one device   the same for one device with the mesh off
//	ideal        the time that those bytes need at the rate of the uplink
//	in place     from the start of the rollout until every device had every chunk where it belongs
//	committed    … until every device had restarted and proven itself
//	from device  what a device sent through its port, nearly all of it chunks to neighbours
//	CPU, memory  of an agent: seconds of all its threads, and the most that was resident (VmHWM)
//	connections  that an agent was seen with, in and out, at most
//	reported     hostile devices that others accuse at the server, and other devices that are accused wrongly
//
// In the scenario depot the devices are off until the depot has the release; what is measured begins when they are switched
// on, and what the depot took before is told apart.
//
// The devices' files lie in a folder in memory where there is one (/dev/shm), as twenty devices do not share one disk.
// The programs end with this process, however it ends, and then the folder is removed by a shell that waits for that.
package site
