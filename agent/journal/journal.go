// Package journal keeps one small document through power cuts, and a number that never falls.
//
// The document lies in two files, name.0 and name.1, written in turn. Each write makes a new generation: a temporary
// file, fsync, rename over the older generation, fsync of the folder. So the newest complete generation is never
// touched; a file that is torn, cut short or has a flipped bit fails its checksum and the older generation is used.
//
//	j, document, err := journal.Open(journal.Options{Dir: dir, Name: "update"})
//	err = j.Save(document)      returns when it is safe
//	seq, err := j.Next()        rises with every call, also across crashes
//
// Next hands out numbers from a block that was reserved by an earlier write, so most calls write nothing; a crash skips
// the rest of the block. When the newer generation is lost the next block is skipped too, and when both are lost numbers
// begin at the Unix time, far above what anybody counted to.
//
// A file is: "wwj1", generation (8 bytes, big-endian), reserved number (8), length (4), SHA-256 of all these and the
// document (32), the document.
package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"time"
)

const (
	magic      = "wwj1"
	headerSize = len(magic) + 8 + 8 + 4 + sha256.Size
	block      = 1024
	// MaxDocument bounds a document, in bytes.
	MaxDocument = 1 << 20
)

var errDamaged = errors.New("damaged")

// Files is the file system as a Journal uses it. The zero Options use the real one; tests cut the power in others.
type Files interface {
	Read(name string, limit int64) ([]byte, error)
	WriteSync(name string, b []byte) error // creates or truncates, writes, fsyncs, closes
	Rename(from, to string) error
	SyncDir(dir string) error
}

// Options of a Journal.
type Options struct {
	Dir   string // exists
	Name  string // of the two files, without the ending
	Files Files  // nil: the operating system's
	Now   func() time.Time
}

// Journal is an open document. It is safe for concurrent use. Only one process may have it open.
type Journal struct {
	files     Files
	dir, name string

	mu         sync.Mutex
	generation uint64
	next       uint64 // the number that Next returns next
	reserved   uint64 // numbers below are safe to hand out
	document   []byte
}

// Open reads the newest complete generation; the document is nil when there is none.
func Open(o Options) (*Journal, []byte, error) {
	if o.Files == nil {
		o.Files = OS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	j := &Journal{files: o.Files, dir: o.Dir, name: o.Name}
	found, damaged := false, 0
	for _, slot := range []uint64{0, 1} {
		b, err := o.Files.Read(j.path(slot), int64(headerSize+MaxDocument))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("journal %s: %w", j.path(slot), err)
		}
		generation, reserved, document, err := decode(b)
		switch {
		case err != nil:
			damaged++
		case !found || generation > j.generation:
			found = true
			j.generation, j.document = generation, document
			j.reserved = max(j.reserved, reserved)
		}
	}
	switch {
	case !found:
		j.reserved = uint64(max(o.Now().Unix(), 1))
	case damaged > 0: // the lost generation may have reserved one block more
		j.reserved += block
	}
	j.next = j.reserved
	return j, j.document, nil
}

// Save stores the document. When it returns nil the document survives a power cut; otherwise the old one does, or the
// new one in whole.
func (j *Journal) Save(document []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.write(document, j.reserved)
}

// Next returns a number higher than any it has returned before, in this process or an earlier one.
func (j *Journal) Next() (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next >= j.reserved {
		if err := j.write(j.document, j.next+block); err != nil {
			return 0, err
		}
	}
	n := j.next
	j.next++
	return n, nil
}

func (j *Journal) write(document []byte, reserved uint64) error {
	if len(document) > MaxDocument {
		return fmt.Errorf("journal %s: a document of %d bytes, over %d", j.name, len(document), MaxDocument)
	}
	generation := j.generation + 1
	path := j.path(j.slotOf(generation))
	if err := j.files.WriteSync(path+".tmp", encode(generation, reserved, document)); err != nil {
		return fmt.Errorf("journal %s: %w; make room on this file system", path, err)
	}
	if err := j.files.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("journal %s: %w", path, err)
	}
	// From here the new generation may be what the next start finds, so it must not be overwritten in place of the old.
	j.generation, j.reserved, j.document = generation, reserved, append([]byte(nil), document...)
	if err := j.files.SyncDir(j.dir); err != nil {
		return fmt.Errorf("journal %s: %w", j.dir, err)
	}
	return nil
}

func (j *Journal) slotOf(generation uint64) uint64 { return generation % 2 }

func (j *Journal) path(slot uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("%s.%d", j.name, slot))
}

func encode(generation, reserved uint64, document []byte) []byte {
	b := make([]byte, 0, headerSize+len(document))
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint64(b, generation)
	b = binary.BigEndian.AppendUint64(b, reserved)
	b = binary.BigEndian.AppendUint32(b, uint32(len(document)))
	sum := sum(b, document)
	return append(append(b, sum[:]...), document...)
}

func decode(b []byte) (generation, reserved uint64, document []byte, err error) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return 0, 0, nil, fmt.Errorf("%w: no journal", errDamaged)
	}
	head, rest := b[:headerSize-sha256.Size], b[headerSize:]
	if uint64(binary.BigEndian.Uint32(head[len(magic)+16:])) != uint64(len(rest)) {
		return 0, 0, nil, fmt.Errorf("%w: cut short", errDamaged)
	}
	if sum(head, rest) != [sha256.Size]byte(b[len(head):headerSize]) {
		return 0, 0, nil, fmt.Errorf("%w: checksum", errDamaged)
	}
	return binary.BigEndian.Uint64(head[len(magic):]), binary.BigEndian.Uint64(head[len(magic)+8:]), rest, nil
}

func sum(head, document []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(head)
	h.Write(document)
	h.Sum(sum[:0])
	return sum
}

// readAll reads r to its end and refuses more than limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		return b[:limit], nil // its checksum will not fit
	}
	return b, err
}
