package patch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Encode returns the front of a pack: header, directory and index difference. The bodies follow it in the order of groups,
// whose Chunks and Size are given; what it returns has their offsets. It refuses what [ParseHead] would refuse.
func Encode(base, target firmware.Digest, difference []byte, groups []Group) (front []byte, p *Pack, err error) {
	directory, err := encodeDirectory(groups)
	if err != nil {
		return nil, nil, err
	}
	size := int64(headerSize + len(directory) + len(difference))
	for _, g := range groups {
		size += g.Size
	}
	front = append(front, magic...)
	front = append(front, base[:]...)
	front = append(front, target[:]...)
	front = binary.LittleEndian.AppendUint32(front, uint32(min(len(directory), MaxDirectory+1)))
	front = binary.LittleEndian.AppendUint32(front, uint32(min(len(difference), maxDiff+1)))
	front = binary.LittleEndian.AppendUint64(front, uint64(size))
	front = append(append(front, directory...), difference...)
	if p, _, err = ParseHead(front); err != nil {
		return nil, nil, fmt.Errorf("encode: %w", err)
	}
	return front, p, nil
}

// compress returns plain as one frame that readers with a window of maxWindow accept.
func compress(plain []byte) ([]byte, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(maxWindow), zstd.WithEncoderCRC(false), zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		return nil, err
	}
	return e.EncodeAll(plain, nil), e.Close()
}

func encodeDirectory(groups []Group) ([]byte, error) {
	b := binary.AppendUvarint(nil, uint64(len(groups)))
	for _, g := range groups {
		b = binary.AppendUvarint(b, uint64(g.Size))
	}
	for _, g := range groups {
		b = binary.AppendUvarint(b, uint64(len(g.Chunks)))
	}
	next := 0
	for i, g := range groups {
		if len(g.Chunks) == 0 || !slices.IsSorted(g.Chunks) {
			return nil, malformed("encode: the %d chunks of group %d do not ascend", len(g.Chunks), i)
		}
		for at := 0; at < len(g.Chunks); {
			n := 1
			for at+n < len(g.Chunks) && g.Chunks[at+n] == g.Chunks[at]+n {
				n++
			}
			gap := int64(g.Chunks[at]-next) << 1
			if n > 1 {
				gap |= 1
			}
			if at == 0 {
				b = binary.AppendVarint(b, gap)
			} else {
				b = binary.AppendUvarint(b, uint64(gap))
			}
			if n > 1 {
				b = binary.AppendUvarint(b, uint64(n-2))
			}
			next = g.Chunks[at] + n
			at += n
		}
	}
	return compress(b)
}

// Difference returns the index difference that brings the index of a base, nil for an empty one, to a target's .caibx.
func Difference(base *firmware.Index, target []byte) ([]byte, error) {
	x, err := firmware.ParseIndex(target)
	if err != nil {
		return nil, err
	}
	w := differ{at: map[firmware.ChunkID][]int{}, seen: make(map[firmware.ChunkID]int, len(x.Chunks)), target: x.Chunks}
	if base != nil {
		w.base = base.Chunks
	}
	for i, c := range w.base {
		if len(w.at[c.ID]) < maxPlaces {
			w.at[c.ID] = append(w.at[c.ID], i)
		}
	}
	w.out = append(w.out, target[flagsAt:flagsAt+8]...)
	for _, v := range []uint64{x.Chunking.Min, x.Chunking.Avg, x.Chunking.Max, uint64(len(x.Chunks))} {
		w.out = binary.AppendUvarint(w.out, v)
	}
	w.write()
	frame, err := compress(w.out)
	if err != nil {
		return nil, err
	}
	b := append(binary.AppendUvarint(nil, uint64(len(frame))), frame...)
	b = append(b, w.ids...)
	if back, err := restore(b, base, int64(len(target))); err != nil || !bytes.Equal(back, target) {
		return nil, fmt.Errorf("pack: the index cannot be written as a difference: %w", err)
	}
	return b, nil
}

// maxPlaces bounds how many places of a repeated chunk are tried.
const maxPlaces = 16

// differ writes instructions.
type differ struct {
	base, target []firmware.Chunk
	at           map[firmware.ChunkID][]int // places in the base
	seen         map[firmware.ChunkID]int   // last place in the target
	cursor       int
	out, ids     []byte
}

func (w *differ) write() {
	for i := 0; i < len(w.target); {
		from, n := w.longest(i)
		back, again := 0, 0
		if n == 0 {
			back, again = w.earlier(i)
		}
		switch {
		case n > 0:
			w.out = binary.AppendUvarint(w.out, uint64(n)<<2+kindBase)
			w.out = binary.AppendVarint(w.out, int64(from-w.cursor))
			w.cursor = from + n
		case again > 0:
			n = again
			w.out = binary.AppendUvarint(w.out, uint64(n)<<2+kindRepeat)
			w.out = binary.AppendUvarint(w.out, uint64(back))
		default:
			n = w.strange(i)
			w.out = binary.AppendUvarint(w.out, uint64(n)<<2+kindNew)
			for _, c := range w.target[i : i+n] {
				w.out = binary.AppendVarint(w.out, int64(c.Size)-expected(w.base, w.cursor))
				w.ids = append(w.ids, c.ID[:]...)
				w.cursor++
			}
		}
		for ; n > 0; n-- {
			w.seen[w.target[i].ID] = i
			i++
		}
	}
}

// longest returns the longest run of the base's index that goes on like the target's at i; among equals the one nearest to
// the cursor.
func (w *differ) longest(i int) (from, n int) {
	near := func(p int) int { return max(p-w.cursor, w.cursor-p) }
	for k, p := range append([]int{w.cursor}, w.at[w.target[i].ID]...) {
		m := 0
		for p+m < len(w.base) && i+m < len(w.target) && w.base[p+m] == w.target[i+m] {
			m++
		}
		if m > n || m == n && k > 0 && near(p) < near(from) {
			from, n = p, m
		}
	}
	return from, n
}

// earlier returns how far back the chunk at i stood last, and for how long the target goes on as it did then.
func (w *differ) earlier(i int) (back, n int) {
	p, ok := w.seen[w.target[i].ID]
	if !ok {
		return 0, 0
	}
	for i+n < len(w.target) && w.target[i+n] == w.target[p+n] {
		n++
	}
	return i - p, n
}

// strange returns how many chunks from i on, one at least, are neither in the base nor earlier in the target.
func (w *differ) strange(i int) (n int) {
	fresh := map[firmware.ChunkID]bool{}
	for _, c := range w.target[i:] {
		_, before := w.seen[c.ID]
		if before || len(w.at[c.ID]) > 0 || fresh[c.ID] {
			break
		}
		fresh[c.ID] = true
		n++
	}
	return max(n, 1) // the id may be there with another size
}
