// Package firmware says what is on a device: chunks, the index that orders them into a payload, the manifest that
// binds payloads into a release, and the plan of what a device still lacks.
//
// A payload (a root file system image, say) is cut into chunks. A [ChunkID] is the SHA-256 of a chunk's plain bytes, so
// a chunk proves itself whoever hands it over. An [Index] lists the chunks in order; it is a casync blob index
// (.caibx) with SHA-256 ids, and the chunks rest in a casync chunk store, each one zstd frame ([EncodeChunk]), so that
// Debian's casync can extract a payload from the repository of Waxwing.
//
//	release.json ──► rootfs.caibx ──► chunk, chunk, chunk …
//	 (Manifest)        (Index)          (ChunkID = SHA-256)
//
// A [Manifest] is what gets signed. From there every byte is fixed: the manifest holds the digest and the size of each
// payload and of its index, the index holds the ids of the chunks. Nothing below the manifest needs a signature.
//
// A [Source] is anything that can hand over chunks: the slot that runs ([Seed]), the half-written slot, a neighbour, the
// origin. Every Source returns verified bytes or an error, never anything in between.
//
// Cutting is in firmware/chunker, which the agent never links; joining is in firmware/assemble. Chunks encoded against
// bytes that a device already holds are in firmware/patch; a patch is judged by the chunk it yields, so nothing in this
// package knows of them. firmware/remote brings both together: what a repository offers, in the fewest bytes.
//
// # Reading what others wrote
//
// Indexes, manifests and chunks come from the network. [ReadIndex], [ParseManifest] and [DecodeChunk] bound every
// length before they allocate and return errors that match [ErrMalformed], [ErrTooLarge] or [ErrCorrupt].
package firmware

import "errors"

// Errors that callers tell apart. They are wrapped with what was found and where.
var (
	ErrMalformed = errors.New("malformed")     // the bytes do not follow the format
	ErrTooLarge  = errors.New("too large")     // a length is over its limit; nothing was allocated for it
	ErrCorrupt   = errors.New("corrupt")       // the bytes do not have the digest that names them
	ErrNotFound  = errors.New("no such chunk") // this source does not have the chunk
)

// Limits of the formats. A device never handles anything larger.
const (
	MaxChunkSize    = 1 << 20   // bytes of one plain chunk
	MaxPayloadSize  = 64 << 30  // bytes of one payload
	MaxIndexSize    = 64 << 20  // bytes of one encoded index: about 1.6 million chunks
	MaxManifestSize = 256 << 10 // bytes of one release.json
)
