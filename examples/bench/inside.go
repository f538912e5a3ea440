package bench

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// The first words of the arguments with which the program runs itself for heavy work.
const (
	wordBlocks = "inside-blocks"
	wordCopy   = "inside-copy"
)

// Inside does the heavy work of a benchmark in a process of its own, so that what measures stays small. It returns false
// if the arguments do not ask for that.
func Inside(args []string, out io.Writer) (bool, error) {
	if len(args) != 3 || args[0] != wordBlocks && args[0] != wordCopy {
		return false, nil
	}
	var result any
	var err error
	if args[0] == wordBlocks {
		result, err = blocksOfFiles(args[1], args[2])
	} else {
		result, err = copyAndHash(args[1], args[2])
	}
	if err != nil {
		return true, err
	}
	return true, json.NewEncoder(out).Encode(result)
}

func blocksOfFiles(oldImage, newImage string) (Blocks, error) {
	f, err := os.Open(oldImage)
	if err != nil {
		return Blocks{}, err
	}
	defer f.Close()
	g, err := os.Open(newImage)
	if err != nil {
		return Blocks{}, err
	}
	defer g.Close()
	return countBlocks(f, g)
}

// Copy is the time that a plain copy takes which is as careful as an update: what it wrote is on the disk, and was read
// again and hashed. Zeros become holes.
type Copy struct {
	Write float64 `json:"write_seconds"`
	Sync  float64 `json:"sync_seconds"`
	Hash  float64 `json:"hash_seconds"`
}

// Seconds is the whole of it.
func (c Copy) Seconds() float64 { return c.Write + c.Sync + c.Hash }

func copyAndHash(from, to string) (c Copy, err error) {
	in, err := os.Open(from)
	if err != nil {
		return c, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	lap := stopwatch()
	if err := copyHoles(out, in); err != nil {
		return c, err
	}
	c.Write = lap()
	if err := out.Sync(); err != nil {
		return c, err
	}
	c.Sync = lap()
	want, err := in.Stat()
	if err != nil {
		return c, err
	}
	hash := sha256.New()
	buffer := make([]byte, 1<<20)
	n, err := io.CopyBuffer(hash, struct{ io.Reader }{io.NewSectionReader(out, 0, want.Size()+1)}, buffer)
	if err == nil && n != want.Size() {
		err = fmt.Errorf("copy of %d bytes has %d", want.Size(), n)
	}
	c.Hash = lap()
	return c, err
}

// copyHoles copies a file; where blocks hold zeros only, nothing is written.
func copyHoles(out *os.File, in io.Reader) error {
	buffer, zeros := make([]byte, 1<<20), make([]byte, 64<<10)
	var at int64
	for {
		n, err := io.ReadFull(in, buffer)
		for piece := buffer[:n]; len(piece) > 0; {
			head := piece[:min(len(piece), len(zeros))]
			if string(head) != string(zeros[:len(head)]) {
				if _, err := out.WriteAt(head, at); err != nil {
					return err
				}
			}
			at += int64(len(head))
			piece = piece[len(head):]
		}
		if ended(err) {
			return out.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}

// stopwatch returns the seconds since it was asked last.
func stopwatch() func() float64 {
	last := time.Now()
	return func() float64 {
		now := time.Now()
		defer func() { last = now }()
		return now.Sub(last).Seconds()
	}
}
