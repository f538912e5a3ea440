// Package trust decides what a device may believe. It verifies both signed planes over a crash-safe store and is the only
// place that does: the agent, the server (before it calls a release published) and the command line use the same code.
//
//	release plane   TUF: root → timestamp → snapshot → targets → product role      what is genuine   Refresh, Manifest, Index
//	policy plane    DSSE envelopes by keys that a TUF target lists                 what to run       Accept, Desired
//
// [Trust.Manifest] is where they meet: a policy that is in force by the keys of now must want the release, its name, length and
// digest of the manifest must be the ones that the product's role lists, the hardware must fit, and no counter may fall. Everything between here and the signers (broker,
// CDN, cache, neighbour) is untrusted and can at worst delay.
//
// # What is remembered
//
// One record holds the root chain, the newest metadata, the accepted envelopes, the highest sequence of each audience and
// the committed counters. It lies in an atomicfile.Pair, two files written in turn, so a torn write loses the newest
// change and never the record. Verified manifests and indexes lie beside it by digest; they are
// a cache and checked on every use.
//
// # TUF
//
// The rules of TUF are in signing/trust/tuf, pure; the workflow around them is here: own fetching with limits, each root
// stored as soon as it is verified, the rest together, everything remembered put before the rules again on every use.
//
// # Time
//
// Expiry is judged by the later of the device's clock and the floor: the newest signed time seen, or the build's. So a clock
// that starts in 1970 does not bring old documents back. A signed time moves the floor only while the release plane stands,
// and the device's own clock never does: one that was wrong once would be wrong for ever. An expired document stops
// installs, never the device. [Trust.Clock] says whether the clock is doubted, and what that means.
//
// # Going back
//
// A release below the committed counter needs a grant (signing/policy), and never goes below the product's security floor,
// the highest that a target of its role names. [Trust.Commit] lowers the counter after the release has proven itself.
package trust

import (
	"errors"
	"io/fs"

	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

// Errors that callers tell apart; they are wrapped with what was seen.
var (
	ErrNotFound     = error(notFound{})                                        // what a Fetcher says for a missing file; matches fs.ErrNotExist
	ErrUntrusted    = tuf.ErrUntrusted                                         // refuse it, ask elsewhere
	ErrMismatch     = errors.New("policy and repository name different bytes") // the two planes disagree
	ErrUnwanted     = errors.New("no policy in force wants this release installed here")
	ErrHardware     = errors.New("the release does not fit this hardware")
	ErrCounter      = errors.New("the release is older than what was committed here")
	ErrRollback     = tuf.ErrRollback // older than what was seen before
	ErrEquivocation = errors.New("same version, other bytes: somebody signs two truths")
	ErrExpired      = tuf.ErrExpired
	ErrAudience     = errors.New("meant for somebody else")
	ErrStale        = errors.New("signed when the keys that are known here may have been replaced: refresh first") // matches ErrUntrusted too
	ErrLife         = errors.New("lives longer than the offline keys allow")
)

type notFound struct{}

func (notFound) Error() string        { return "not found" }
func (notFound) Is(target error) bool { return target == fs.ErrNotExist }
