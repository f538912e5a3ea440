// Package install puts a payload where it runs from. An [Installer] prepares a place that does not run, lets
// firmware/assemble write into it, and remembers what each place holds, so that the running one can be a seed.
//
// install/slot installs into one of two partitions. Other handlers (files, modules) come beside it.
package install

import (
	"context"
	"errors"
	"io"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Errors that callers tell apart.
var (
	ErrTooLarge = errors.New("the payload is larger than the slot")
	ErrRunning  = errors.New("the slot runs and is never written")
	ErrUnknown  = errors.New("nothing is known of what the slot holds")
)

// Held is what a place holds: a whole, verified payload.
type Held struct {
	Product   string          `json:"product"`
	Version   string          `json:"version"`
	Counter   uint64          `json:"counter"`
	Manifest  firmware.Digest `json:"manifest"` // of release.json
	Component string          `json:"component"`
	Size      int64           `json:"size"`  // bytes of the payload
	Index     firmware.Digest `json:"index"` // of the encoded index
	// Payload is the digest of the payload; zero in the records of older agents. Patches are found by it.
	Payload firmware.Digest `json:"payload,omitzero"`
}

// Place is a slot open for writing; it is an assemble.Target.
type Place interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
}

// Payload is an open slot that holds something known.
type Payload interface {
	io.ReaderAt
	io.Closer
}

// Installer is the seam between the agent and where payloads go.
type Installer interface {
	// Prepare opens a slot for a payload of size bytes. Before it returns nobody can take the slot for what it held
	// before. Errors match ErrTooLarge and ErrRunning.
	Prepare(ctx context.Context, slot, running string, size int64) (Place, error)
	// Finish remembers that the slot holds a verified payload. It is durable on return.
	Finish(ctx context.Context, slot string, held Held, index *firmware.Index) error
	// Holds returns what a slot holds. The error matches ErrUnknown when nothing is known.
	Holds(slot string) (Held, error)
	// Open returns the payload of a slot and its index, to read from. The error matches ErrUnknown as Holds does.
	Open(slot string) (Payload, *firmware.Index, error)
}
