// Package release keeps what can be rolled out: products and their releases, from an uploaded image or from chunks that a
// CI job pushed, to signed metadata in the repository that every device reads.
//
// A release is built (the image is cut, hashed and stored), signed (the product role lists its manifest and indexes) and
// published (snapshot and timestamp name the new product role). Before a release counts as published the server reads it
// back through signing/trust, the very code of a device.
package release

import (
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Collections in the store.
const (
	ProductsName = "products" // product → Product
	ReleasesName = "releases" // product/version → Release
	UploadsName  = "uploads"  // upload id → Upload
)

// Product is a line of devices that take the same releases.
type Product struct {
	Name      string    `json:"name"`
	Keys      []string  `json:"keys"`    // key ids of its TUF role
	Signing   string    `json:"signing"` // "server": this server holds the key; "offline": releases arrive signed
	CreatedAt time.Time `json:"created_at"`
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
	Manifest  *firmware.Manifest `json:"manifest,omitempty"` // once built
	Digest    firmware.Digest    `json:"digest"`             // of the encoded manifest
	Length    int64              `json:"length"`             // of the encoded manifest, bytes
	Progress  Progress           `json:"progress"`
	Size      Size               `json:"size"`
	SignedBy  []string           `json:"signed_by,omitempty"` // key ids
	CreatedAt time.Time          `json:"created_at"`
	CreatedBy string             `json:"created_by"`
}

// Progress of building, in plain bytes of the image.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Size of a published release, in bytes.
type Size struct {
	Payload   int64 `json:"payload"`    // plain
	Stored    int64 `json:"stored"`     // all of its distinct chunks, compressed
	NewChunks int64 `json:"new_chunks"` // compressed bytes of chunks that the repository did not hold before
	Chunks    int   `json:"chunks"`     // distinct
}
