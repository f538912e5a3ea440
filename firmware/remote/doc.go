// Package remote is a repository as a device sees it: the chunks of one payload, in the fewest bytes that it offers.
//
//	r, err := remote.Open(ctx, remote.Options{Files: files, Target: sum, Base: base})   // asks for the front of the pack
//	index, err := r.Index(ctx, manifest.Index)                                          // from the base's index
//	n, err := r.Fetch(ctx, missing, deliver)                                            // groups of patches, chunks
//
// Where there is a pack for the pair of base and target ([patch.Path]), chunks come in its groups, each one range of the
// file; everything else comes chunk by chunk. It makes no difference to the caller, nor to safety: whoever takes a chunk
// compares it with its id. What a group fails to yield, because the pack is wrong or the base is damaged, is fetched whole.
//
// # What is fetched how
//
// A group is decoded from its beginning, so it costs its whole body even for one chunk. It is used when all of it is wanted
// or most of it, or when its body is small beside the chunks that are wanted; see worth. Publishers leave groups out of a
// pack that are not smaller than their chunks, so an update never costs more than its chunks and the front of the pack.
//
// Devices with the same base need the same groups: their bodies may be kept ([Options.Keep]) and taken from each other
// ([Remote.Patched]).
//
// A pack that changes while it is read, because somebody built it anew, spoils what is fetched from then on and nothing
// else.
//
// [Files] is the seam to the network. A server that does not know ranges says so with [ErrNoRange]; then the whole pack is
// read once if [Options.Whole] allows it, and not used otherwise.
package remote

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/waxwing-ota/waxwing/firmware"
)

var (
	// ErrNoPack says that the repository has no pack for this pair, or none that can be used.
	ErrNoPack = errors.New("there is no pack of patches")
	// ErrNoRange is what [Files] say when a server answers with a whole file instead of a part.
	ErrNoRange = errors.New("the server does not know ranges")
	// ErrHeld is what [Files] say when a server does not give what another device nearby holds. It fails a part of a batch:
	// the rest of it is fetched.
	ErrHeld = errors.New("another device holds it")
)

// Files reads a repository; paths are relative to its root. It is used by several goroutines at once. The error for a
// file that is not there matches fs.ErrNotExist.
type Files interface {
	// Fetch returns a file of at most limit bytes.
	Fetch(ctx context.Context, path string, limit int64) ([]byte, error)
	// Range returns n bytes from offset on, fewer when the file ends before. It never reads much more than that from the
	// network: where the server sends the whole file it cuts it off after n bytes when offset is 0, and else at once with
	// ErrNoRange.
	Range(ctx context.Context, path string, offset, n int64) ([]byte, error)
}

// Base is a payload that lies here in whole, such as the slot that runs.
type Base struct {
	SHA256  firmware.Digest // of the payload
	Index   *firmware.Index
	Payload io.ReaderAt // may be damaged; used by several goroutines at once
}

// Deliver takes a chunk and verifies it. plain is valid during the call only. An error that matches firmware.ErrCorrupt or
// firmware.ErrNotFound blames the chunk, any other ends the fetching.
type Deliver = func(plain []byte, id firmware.ChunkID) error

// Options of [Open].
type Options struct {
	Files    Files
	Target   firmware.Digest // of the payload that is wanted
	Index    *firmware.Index // of the target; nil when [Remote.Index] or [Remote.Use] will give it
	Base     *Base           // nil: there is none, everything is fetched whole
	Requests int             // under way at a time; 0: 4
	Decoders int             // groups decoded at a time, each in 4 to 8 MiB that are kept and 4 MiB of bodies; 0: one
	Keep     *Kept           // takes the groups' bodies that came; nil: they are let go
	Whole    int64           // bytes of the largest pack that is read at once where ranges are not known
	Log      *slog.Logger    // nil: silent
}

// Traffic counts bytes that came over the line.
type Traffic struct {
	Index int64 // index difference
	Patch int64 // the rest of the pack
	Chunk int64 // whole chunks, compressed
}
