// Package journal keeps one small document through power cuts, and a number that never falls.
//
//	j, document, err := journal.Open(journal.Options{Dir: dir, Name: "update"})
//	err = j.Save(document)      returns when it is safe
//	seq, err := j.Next()        rises with every call, also across crashes
//
// Both lie in an atomicfile.Pair: the number (8 bytes, big-endian), then the document. Next hands out numbers from a
// block that was reserved by an earlier write, so most calls write nothing; a crash skips the rest of the block. When the
// newer file is lost the next block is skipped too, and when both are lost numbers begin at the Unix time, far above what
// anybody counted to.
package journal

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
)

const (
	block = 1024
	// MaxDocument bounds a document, in bytes.
	MaxDocument = 1 << 20
)

// Options of a Journal.
type Options struct {
	Dir  string          // exists
	Name string          // of the two files, without the ending
	Disk atomicfile.Disk // nil: the operating system's
	Now  func() time.Time
}

// Journal is an open document. It is safe for concurrent use. Only one process may have it open.
type Journal struct {
	mu       sync.Mutex
	pair     *atomicfile.Pair
	next     uint64 // the number that Next returns next
	reserved uint64 // numbers below are safe to hand out
	document []byte
}

// Open reads the newest whole document; it is nil when there is none.
func Open(o Options) (*Journal, []byte, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	pair, b := atomicfile.OpenPair(o.Dir, o.Name, 8+MaxDocument, o.Disk)
	j := &Journal{pair: pair}
	switch {
	case b == nil:
		j.reserved = uint64(max(o.Now().Unix(), 1))
	case len(b) < 8:
		return nil, nil, fmt.Errorf("journal %s in %s is of another program", o.Name, o.Dir)
	default:
		j.reserved = binary.BigEndian.Uint64(b)
		if len(b) > 8 {
			j.document = b[8:]
		}
	}
	if b != nil && pair.Damaged() > 0 { // the lost one may have reserved one block more
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
	if err := j.pair.Save(append(binary.BigEndian.AppendUint64(nil, reserved), document...)); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.reserved, j.document = reserved, append([]byte(nil), document...)
	return nil
}
