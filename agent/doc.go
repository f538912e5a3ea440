// Package agent is the program on a device: it hears what the signed policy wishes, fetches and proves it, installs it
// beside what runs, reboots, proves that it works, and keeps it or goes back.
//
//	link (MQTT) ┐                        ┌─ Check     signing/trust: both planes agree
//	            ├─► trust ─► update.Step ┼─ Assemble  firmware/assemble ◄─ running slot, neighbours, patches, chunks
//	origin ─────┘   (policy)   (pure)    ├─ Arm, Reboot, Confirm, Revert  boot
//	 (HTTPS)                             └─ Probe     health          reports ─► link, else origin
//
// [Agent.Run] has one goroutine that owns the update state; everything else sends it events. The state is stored before
// an effect begins, so the agent may be killed at any moment.
//
// # Sites
//
// The server knows which devices share an uplink. It names neighbours that multicast does not reach, who are greeted like
// those that are heard, and it leaves bytes that one of them holds or fetches to that one ([protocol.HeaderLease]). Before
// this device waits for a holder it greets it; one that does not answer is named to the server as out of reach, the bytes
// come from the server after all, and the report says isolated.
//
// # Depots
//
// A depot ([Depot]) has no slots and no update: one goroutine keeps releases (agent/depot) and shares them as slots are.
//
// # Offences
//
// What neighbours did and should not have done ([Sources].Offended) is in the report and in status for a day. It is an accusation
// and no proof: nothing is decided by it, here or on the server.
//
// # Configuration
//
// waxwing-agent enroll writes a [Config] as JSON, agent.json. Paths are relative to its folder, which also holds:
//
//	device.key, device.pem   the identity, mode 0600; renewed at half of its life
//	fleet-ca.pem, root.json  whom to trust: the fleet's CA, and the TUF root to begin with
//	state/                   journal of the update, records of the slots, trust store, offences of neighbours, patches for
//	                         neighbours (8 MiB at most)
//	status.json              for waxwing-agent status
//	depot/                   payloads of a depot
//	boot.env, slot-a, slot-b of a virtual device
//
// Fields of agent.json:
//
//	device         id of this device, the common name of its certificate
//	hardware       hardware id; only releases that name it are installed
//	fleet          tag by which neighbours know that they belong together
//	server         https://host:port of the device plane
//	brokers        ["tls://host:port", …], tried in turn; empty: HTTPS only
//	slots          {"a": path, "b": path}: the two partitions
//	boot.kind      "uboot" (fw_printenv, fw_setenv) or "envfile" (boot.path)
//	boot.path      the file of "envfile"
//	reboot         command, default ["systemctl", "reboot"]; ["exec"]: a virtual device, whose every start is a power-on
//	probes         [{"name": "app", "command": ["sh", "-c", "…"], "timeout_seconds": 5},
//	               {"name": "web", "http": "http://127.0.0.1/health"}, {"name": "cloud", "mqtt": true}, {"name": "up", "server": true}];
//	               without any, a new release proves itself by reaching the server
//	mesh           {"interfaces": ["eth0"], "listen": ":0", "off": false}: neighbours; no interfaces: all that are up
//	mesh.unlisted  true: the server is not told where this device listens and introduces nobody to it
//	mesh.link      "wired", "wifi", "cellular" or "battery": what bytes to neighbours cost; without it the kernel is asked
//	limits         {"uplink": {"bytes_per_hour": N, "hours": ["22:00-06:00"]},
//	               "lan": {"bytes_per_hour": N, "bytes_per_second": N, "hours": […]}}: chunks and patches from the server, and to
//	               neighbours. An hour is any sixty minutes, hours of the day are UTC like a policy's window, and 0 or nothing
//	               is no limit
//	depot          true, or {"space": MiB}: nothing is installed, releases are kept for the site, in 8192 MiB if nothing else is
//	               said; hardware then says nothing, and slots, boot, reboot and probes are not needed
//	site           name of the site whose uplink this device shares; the server's label site goes before it, and without
//	               either devices behind one public address are a site
//	poll_seconds   how often to ask by HTTPS while the broker is silent, default 300
//	keepalive_seconds  of the broker's connection, default 300
package agent
