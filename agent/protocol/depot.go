package protocol

import (
	"github.com/waxwing-ota/waxwing/firmware"
)

// Depot is what a depot says of the releases that it keeps for its site.
type Depot struct {
	Releases []Kept `json:"releases"` // that are whole, MaxKept at most, the newest first
	Bytes    int64  `json:"bytes"`    // that all it keeps takes
	Space    int64  `json:"space"`    // that it may take
	// Trouble is a sentence that says why a release that it should keep is not there; empty: all are, or are on their way.
	Trouble string `json:"trouble,omitempty"`
}

// Kept is a release that a depot keeps.
type Kept struct {
	Product string          `json:"product"`
	Version string          `json:"version"`
	SHA256  firmware.Digest `json:"sha256"` // of the manifest
}

// Bounds of what a depot says.
const (
	MaxKept    = 16
	maxTrouble = 512 // bytes
)

// bound cuts off what is too much. There may be no depot.
func (d *Depot) bound() error {
	if d == nil {
		return nil
	}
	d.Releases = d.Releases[:min(len(d.Releases), MaxKept)]
	for _, k := range d.Releases {
		if err := firmware.CheckName("product", k.Product); err != nil {
			return err
		}
		if err := firmware.CheckName("version", k.Version); err != nil {
			return err
		}
	}
	d.Trouble = d.Trouble[:min(len(d.Trouble), maxTrouble)]
	d.Bytes, d.Space = max(d.Bytes, 0), max(d.Space, 0)
	return nil
}
