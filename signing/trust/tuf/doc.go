// Package tuf is the rules of a TUF client (The Update Framework, specification 1.0, section 5.3) without any I/O: what a
// document must be to be believed after the ones that were believed before. signing/trust fetches and remembers.
//
//	r, err := tuf.Start(root)        the root that came with the device, or the newest stored one
//	r.UpdateRoot(next)               … while there is a next one
//	r.UpdateTimestamp(remembered)    what was believed before, if anything: nothing may fall below it
//	r.UpdateTimestamp(fetched)
//	r.UpdateSnapshot(…); r.UpdateTargets(…); r.UpdateProduct(…)
//
// go-tuf writes the repository and is the oracle of this package's tests: both judge the same documents, good and spoilt.
// The rules are here once more because go-tuf links protobuf into a device (1.8 MB of the agent for armv7), because it
// accepts documents of any major version, and because it panics on keys of a wrong length.
//
// What is narrower here than in the specification, as the repository of Waxwing never needs it: keys are ed25519 or ECDSA
// P-256; one level of delegation, by path patterns; hashes are SHA-256.
package tuf

import "errors"

// Errors; each is wrapped with what was seen.
var (
	ErrUntrusted = errors.New("not signed as its role demands, or malformed")
	ErrRollback  = errors.New("a version that falls, or is not the one that was named")
	ErrExpired   = errors.New("expired")
	ErrEqual     = errors.New("the version that is believed already")
	ErrOrder     = errors.New("called out of order")
)
