package patch

import (
	"encoding/binary"
	"fmt"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

// HeadSize is what a first request should ask for, in bytes. It holds header and directory of all but the largest packs,
// and the index difference of a small one.
const HeadSize = 8 << 10

// Limits of a pack.
const (
	MaxGroups    = 1 << 16 // groups
	MaxChunks    = 1 << 19 // chunks in all groups: 32 GiB of changed chunks of 64 KiB
	MaxDirectory = 1 << 20 // bytes of the directory, compressed or not
	maxNumber    = firmware.MaxIndexSize / 40
	maxDiff      = firmware.MaxIndexSize + 1<<20 // bytes of the index difference
)

const (
	magic      = "WAXPACK\x01"
	headerSize = len(magic) + 2*len(firmware.Digest{}) + 4 + 4 + 8
)

// Pack is the front of a pack.
type Pack struct {
	Base, Target firmware.Digest // of the payloads
	Size         int64           // of the file, bytes
	Groups       []Group

	directory, difference int64 // their lengths
}

// Group is chunks that are encoded together.
type Group struct {
	Chunks []int // ascending numbers of distinct target chunks
	Offset int64 // of the body in the file
	Size   int64 // of the body, bytes
}

// Path returns where the pack of a pair of payloads rests in a repository.
func Path(base, target firmware.Digest) string {
	return "patches/" + target.String() + "/" + base.String() + ".pack"
}

// ParseHead reads header and directory from the first bytes of a pack. When need is over len(b), come again with that many
// bytes of the start of the file; p is nil then.
func ParseHead(b []byte) (p *Pack, need int64, err error) {
	if n := min(len(b), len(magic)); string(b[:n]) != magic[:n] {
		return nil, 0, malformed("this is no pack of version 1")
	}
	if len(b) < headerSize {
		return nil, int64(headerSize), nil
	}
	p = &Pack{}
	at := len(magic)
	at += copy(p.Base[:], b[at:])
	at += copy(p.Target[:], b[at:])
	p.directory = int64(binary.LittleEndian.Uint32(b[at:]))
	p.difference = int64(binary.LittleEndian.Uint32(b[at+4:]))
	size := binary.LittleEndian.Uint64(b[at+8:])
	bodies := int64(headerSize) + p.directory + p.difference
	switch {
	case p.directory > MaxDirectory:
		return nil, 0, tooLarge("a directory of %d bytes", p.directory)
	case p.difference > maxDiff:
		return nil, 0, tooLarge("an index difference of %d bytes", p.difference)
	case size < uint64(bodies) || size > uint64(bodies)+MaxGroups*delta.MaxBody:
		return nil, 0, malformed("a file of %d bytes whose front has %d", size, bodies)
	}
	p.Size = int64(size)
	need = int64(headerSize) + p.directory
	if need > int64(len(b)) {
		return nil, need, nil
	}
	if p.Groups, err = parseDirectory(b[headerSize:need]); err != nil {
		return nil, 0, err
	}
	end := bodies
	for i := range p.Groups {
		p.Groups[i].Offset = end
		end += p.Groups[i].Size
	}
	if end != p.Size {
		return nil, 0, malformed("the bodies end at %d of %d bytes", end, p.Size)
	}
	return p, need, nil
}

// IndexSpan returns where the index difference lies in the file.
func (p *Pack) IndexSpan() (offset, size int64) { return int64(headerSize) + p.directory, p.difference }

// Check compares the groups with the target's distinct chunks: all must exist, and no group may unfold to more than
// MaxPlain bytes.
func (p *Pack) Check(distinct []firmware.Chunk) error {
	for i, g := range p.Groups {
		if last := g.Chunks[len(g.Chunks)-1]; last >= len(distinct) {
			return malformed("group %d carries chunk %d of %d", i, last, len(distinct))
		}
		var plain int64
		for _, n := range g.Chunks {
			plain += int64(distinct[n].Size)
		}
		if plain > delta.MaxPlain {
			return tooLarge("group %d unfolds to %d bytes", i, plain)
		}
	}
	return nil
}

func malformed(format string, a ...any) error {
	return fmt.Errorf("pack: %s: %w", fmt.Sprintf(format, a...), firmware.ErrMalformed)
}

func tooLarge(format string, a ...any) error {
	return fmt.Errorf("pack: %s: %w", fmt.Sprintf(format, a...), firmware.ErrTooLarge)
}
