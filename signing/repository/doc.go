// Package repository writes the static repository that devices verify: TUF metadata and the targets that it signs. Any
// web server or bucket can serve what it writes.
//
//	metadata/timestamp.json              online     names the snapshot, expires soon
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
// One process writes a repository at a time. go-tuf's metadata types are used; its traps that matter to a signer are kept
// here in one place: signatures are replaced and never appended to (sign), times are whole seconds, one hash a target,
// role names are unique because they are product names, and path_hash_prefixes are never written.
package repository
