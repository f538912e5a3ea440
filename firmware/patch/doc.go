// Package patch is the pack: the file with everything that brings a device from one payload to another in the fewest bytes.
//
// A pack belongs to a pair, the base payload that a device holds and the target payload that it wants, and rests in the
// repository at [Path]. It says how the target's index follows from the base's, and it carries groups: chunks of the target
// encoded against bytes of the base, many at a time because neighbours share their context. A group's body is decoded by
// firmware/patch/delta; packs are made by firmware/patch/encode, which no device links.
//
//	offset
//	0   header            magic "WAXPACK" and version 1; SHA-256 of base and target payload; lengths   88 bytes
//	88  directory         which chunks each group carries, how long each body is                       one zstd frame
//	    index difference  the target's .caibx from the base's                                          see below
//	    bodies            of the groups, back to back, in the order of the directory
//
// Nothing in a pack is signed and nothing in it is believed. The index that it yields must have the digest that the signed
// manifest names, each chunk the id that this index names; what does not is fetched whole. So anybody may make a pack, at
// any time, for any base.
//
// Everything needed to decide what to fetch stands at the front, and the bodies are ranges of the file. Any web server or
// bucket that knows ranges will do: one request for the first [HeadSize] bytes, then one a group.
//
// # Header
//
// All integers are little-endian, as in casync's files: 8 bytes of magic and version, 32 bytes base, 32 bytes target, u32
// length of the directory, u32 length of the index difference, u64 length of the file. The digests are those of the
// payloads, so that a pack in the wrong place is noticed before anything is read against the wrong base.
//
// # Directory
//
// A chunk's number is its place in [firmware.Index.Distinct]. Below, a varint is unsigned LEB128 and a signed one zigzag, as
// in encoding/binary. Same things stand together, because that is what zstd makes small:
//
//	varint               how many groups
//	varint …             the length of each body
//	varint …             how many chunks each group carries
//	run, run, …          the numbers of each group, ascending
//
// A run is a varint (gap << 1 | more), and if more is set a varint for the length of the run less two: a chunk on its own,
// the most frequent case, takes one byte. The gap counts the numbers left out since the last run; for the first run of a group
// it is a signed varint from the end of the group before, as groups may lie across one another. No chunk is in two groups.
//
// # Index difference
//
//	varint    length of the instructions
//	…         the instructions, one zstd frame
//	32 bytes  the id of each new chunk, in order: noise, so outside of the frame
//
// The instructions begin with u64 feature flags of the .caibx, varints for its least, average and greatest chunk size and the
// number of its chunks. Each instruction is a varint (n << 2 | kind):
//
//	0  n chunks of the base's index        signed varint: where, from the cursor; the cursor moves behind them
//	1  n new chunks                        n signed varints: size less the size of the base's chunk at the cursor, which moves on
//	2  n chunks that came before           varint: how many chunks back in the target; the copy may overlap itself
//
// The cursor walks through the base's index. A chunk that changed in place mostly keeps its size, so that a new chunk takes
// little more than its id.
//
// # Limits
//
// [ParseHead] and [Pack.Index] bound every length before they allocate. Errors match firmware.ErrMalformed or
// firmware.ErrTooLarge.
package patch
