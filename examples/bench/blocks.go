package bench

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

const (
	blockSize = 4 << 10
	groupSize = 16 // blocks that are compressed together, as a range request would fetch them
)

// Blocks is what an update by blocks of fixed size costs.
type Blocks struct {
	New   int   `json:"new_blocks"` // distinct, that the old image has nowhere
	Bytes int64 `json:"bytes"`      // of them, compressed
}

// countBlocks counts the blocks of 4 KiB of an image that another one has nowhere, each once. New blocks that follow each
// other are compressed in groups of at most 64 KiB. The list of hashes that says where blocks go is not in the count.
func countBlocks(oldImage, newImage io.Reader) (Blocks, error) {
	have := map[[16]byte]bool{}
	if err := eachBlock(oldImage, func(b []byte) error {
		have[blockID(b)] = true
		return nil
	}); err != nil {
		return Blocks{}, err
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return Blocks{}, err
	}
	defer func() { _ = encoder.Close() }() // it never writes to anything
	var sum Blocks
	var group, frame []byte
	flush := func() {
		if len(group) > 0 {
			frame = encoder.EncodeAll(group, frame[:0])
			sum.Bytes += int64(len(frame))
			group = group[:0]
		}
	}
	err = eachBlock(newImage, func(b []byte) error {
		id := blockID(b)
		if have[id] {
			flush()
			return nil
		}
		have[id] = true
		sum.New++
		if group = append(group, b...); len(group) >= groupSize*blockSize {
			flush()
		}
		return nil
	})
	flush()
	return sum, err
}

// blockID is short, as millions of them are kept at a time.
func blockID(b []byte) [16]byte {
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// eachBlock reads blocks to the end; the last may be shorter.
func eachBlock(r io.Reader, do func(b []byte) error) error {
	in := bufio.NewReaderSize(r, 1<<20)
	block := make([]byte, blockSize)
	for {
		n, err := io.ReadFull(in, block)
		if n > 0 {
			if err := do(block[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// same compares two files.
func same(a, b string) (bool, error) {
	f, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer g.Close()
	x, y := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(f, x)
		m, err2 := io.ReadFull(g, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if err != nil || err2 != nil {
			if ended(err) && ended(err2) {
				return true, nil
			}
			return false, errors.Join(err, err2)
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
