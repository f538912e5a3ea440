// Package server is one Waxwing server: the operator plane, the device plane, the broker and what stands behind them, in
// one process.
//
//	s, err := server.New(server.Options{Data: "d"})
//	err = s.Run(ctx)               // until ctx ends
//	<-s.Ready(); s.Addresses()     // from another goroutine
//
// # The data folder
//
//	etcd/          the store (absent with an external cluster)
//	blob/repo/     the static repository: metadata, targets, chunks
//	identity/      the fleet CA
//	keys/          the signing keys: root, targets, snapshot, timestamp, policy, and product-<name>
//	uploads/       images on their way here
//	trust/         what the server remembers as its own first device
//	admin.token    the first operator token, mode 0600
//	server.json    where it serves, while it does: operator_url, device_url, mqtt_url, pid
//
// Back up all of it together, or at least identity/ and keys/: with another CA no device is known, and with other keys no
// device believes a release.
//
// # The development trust
//
// The first start makes all signing keys on this machine. That is good for trying Waxwing, and for a fleet whose server is
// as safe as its keys must be. Whoever takes over such a server can sign releases. In production the root and targets
// keys belong on machines without a network, and product keys to CI (waxwing keys generate, waxwing product create --key).
//
// # Starting and stopping
//
// Run opens what is below before what is above, and stops in the opposite order: first nobody comes in, then what is
// under way ends, then the store closes. Killed at any moment it goes on where it was: uploads, builds and rollouts are
// in the store before they are acted on.
package server
