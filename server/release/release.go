// Package release keeps what can be rolled out: products and their releases, from an uploaded image or from chunks that a
// CI job pushed, to signed metadata in the repository that every device reads.
//
// A release is built (the image is cut, hashed and stored), signed (the product role lists its manifest and indexes) and
// published (snapshot and timestamp name the new product role). Before a release counts as published the server reads it
// back through signing/trust, the very code of a device: the server is its own first device.
//
//	upload ─► building ─► published ─► yanked
//	              └─────► failed (the same version may be tried again)
//
// # Patches
//
// After a release is published, packs of patches are made for it in the background, from the few releases that most of the
// product's devices run, so that an update is small. Nothing waits for them: a device uses the packs that are there. What
// there is to do is never written down. It follows from the published releases, from what the fleet runs and from the packs
// that exist, so a kill loses at most the pack that was being made. A pack goes when its release was yanked and runs
// nowhere. The list in [Release] is for people to look at.
//
// # Attestations
//
// With a release lies what its pipeline said about it: in-toto statements in DSSE envelopes, such as how it was built (SLSA
// provenance) and what is in it (an SBOM). One is kept only if its subject is this release ([Releases.Attest]); who signed
// and which job handed it in is shown. Devices never see them.
//
// # What survives a kill
//
// An upload is a file and a document; the document says how many bytes are safely on disk, and the sender goes on from
// there. A release is written as building, with its upload and its counter, before any work starts: [Releases.Run] finds
// it after a restart and builds it again from the upload, which is removed only once the release is published. Every
// step can be repeated: chunks are named by what they hold, and publishing the same targets again changes nothing.
package release

import (
	"errors"
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// Collections in the store.
const (
	ProductsName = "products" // product → Product
	ReleasesName = "releases" // product/version → Release
	UploadsName  = "uploads"  // upload id → Upload
)

// Errors that callers tell apart. They are wrapped with what was found and what to do.
var (
	ErrInvalid  = errors.New("invalid")  // the request cannot be right
	ErrConflict = errors.New("conflict") // it contradicts what is here
)

// Signings of a product.
const (
	SigningServer  = "server"
	SigningOffline = "offline"
)

// Product is a line of devices that take the same releases.
type Product struct {
	Name string   `json:"name"`
	Keys []string `json:"keys"` // key ids of its TUF role
	// Public are the keys themselves; empty in products of older servers.
	Public    []public.Key `json:"public,omitempty"`
	Signing   string       `json:"signing"` // "server": this server holds the key; "offline": releases arrive signed
	Counter   uint64       `json:"counter"` // of the last release that was begun
	CreatedAt time.Time    `json:"created_at"`
}

// State is where a release stands.
type State string

// The states there are.
const (
	Building  State = "building"  // its image is being cut and stored
	Published State = "published" // devices can verify it
	Failed    State = "failed"    // building ended with Error; the same version may be tried again
	Yanked    State = "yanked"    // no new rollout may use it
)

// Release is one version of a product.
type Release struct {
	Product   string             `json:"product"`
	Version   string             `json:"version"`
	State     State              `json:"state"`
	Error     string             `json:"error,omitempty"`
	Counter   uint64             `json:"counter"`
	Hardware  []string           `json:"hardware"`
	Upload    string             `json:"upload,omitempty"`   // that it is built from; empty once published
	Manifest  *firmware.Manifest `json:"manifest,omitempty"` // once built
	Digest    firmware.Digest    `json:"digest"`             // of the encoded manifest
	Length    int64              `json:"length"`             // of the encoded manifest, bytes
	Progress  Progress           `json:"progress"`
	Size      Size               `json:"size"`
	Patches   []Patches          `json:"patches,omitempty"`
	SignedBy  []string           `json:"signed_by,omitempty"` // key ids
	CreatedAt time.Time          `json:"created_at"`
	CreatedBy string             `json:"created_by"`
	Job       *auth.Job          `json:"job,omitempty"` // that created it; nil: a person did, or a job that nobody vouches for
}

// Name returns "edge-gw/1.1.0", which is also the key in the store.
func (r *Release) Name() string { return r.Product + "/" + r.Version }

// Policy returns what a policy says to name this release; only a built release has it.
func (r *Release) Policy() (policy.Release, error) {
	if r.Manifest == nil {
		return policy.Release{}, fmt.Errorf("release %s is %s, so there is no manifest yet: %w", r.Name(), r.State, ErrConflict)
	}
	return policy.Release{
		Product: r.Product, Version: r.Version, Counter: r.Manifest.Counter,
		Target: firmware.ManifestTarget(r.Product, r.Version), Length: r.Length, SHA256: r.Digest,
	}, nil
}

// Progress of building, in plain bytes of the image.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Size of a published release, in bytes.
type Size struct {
	Payload   int64 `json:"payload"`            // plain
	Stored    int64 `json:"stored"`             // all of its distinct chunks, compressed
	Distinct  int64 `json:"distinct,omitempty"` // the same, plain; 0: not known, of an older server
	NewChunks int64 `json:"new_chunks"`         // compressed bytes of chunks that the repository did not hold before
	Chunks    int   `json:"chunks"`             // distinct
}

// Upload is an image on its way here.
type Upload struct {
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"` // of the file, for people
	Size      int64     `json:"size"`           // that it will have
	Offset    int64     `json:"offset"`         // bytes that are safely here
	CreatedAt time.Time `json:"created_at"`
	TouchedAt time.Time `json:"touched_at"`
	CreatedBy string    `json:"created_by"`
}
