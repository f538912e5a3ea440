// Package repository writes the static repository that devices verify: TUF metadata and the targets that it signs. Any
// web server or bucket can serve what it writes.
//
//	metadata/timestamp.json              online     names the snapshot, expires soon; <n>.timestamp.json beside it claim versions
//	metadata/<n>.snapshot.json           online     fixes the version of every role
//	metadata/<n>.root.json               offline    keys and thresholds of the roles
//	metadata/<n>.targets.json            offline    delegates <product>/*/* to each product, lists policy-keys.json
//	metadata/<n>.<product>.json          product    lists release.json and the indexes of every release
//	targets/<dir>/<sha256>.<name>                   the targets themselves
//
// [Create] begins one, [Open] goes on with it. A release is signed by [SignRelease], which needs only the product's key
// and may run far from the server, and made visible by [Repository.Publish], which writes the timestamp last: a reader
// sees the old repository or the new one. A version is never written twice with other bytes.
//
// # Offline roles
//
// Root and targets are signed by holders who have their keys on machines of their own. [Begin] drafts the first ones from
// public keys, and whatever changes them later ([Repository.AddProduct], [Repository.SetPolicyKeys],
// [Repository.ChangeRoot], [Repository.Renew]) answers with an [OfflineError] that carries a [Draft] where the keys are not
// here. Holders pass it on as a file: [Draft.State] says what it changes and who must still sign, [Draft.Sign] adds a
// signature, [Combine] joins copies, and [Repository.Import] checks it as a device would and publishes what hangs on it.
//
// # Two writers
//
// Snapshots are a log: the next version is claimed by writing it, which succeeds for one process where Files is
// [Exclusive]; then follows the role that it names, and the timestamp last, whose versions are claimed in the same way.
// Whoever was second reads again and tries again. So no version ever has two contents, and nothing published is lost.
// After a restore from a backup [Repository.Raise] goes on above what devices have seen.
//
// go-tuf's metadata types are used; its traps that matter to a signer are kept here in one place: signatures are put in the
// order of their keys and never twice (sign.go), times are whole seconds, one hash a target, role names are unique because
// they are product names, and path_hash_prefixes are never written.
package repository
