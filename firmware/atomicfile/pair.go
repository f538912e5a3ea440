package atomicfile

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Disk is the file system as a Pair uses it. Tests cut the power in others than the real one.
type Disk interface {
	Read(name string, limit int64) ([]byte, error)
	WriteSync(name string, content []byte) error // creates or truncates, writes, syncs, closes
	Rename(from, to string) error
	SyncDir(dir string) error
}

// Pair is one document in two files, <name>.0 and <name>.1. Each save makes a new generation out of the older file, so
// the newest whole one is never touched. A file is
//
//	"wwp1", generation (8 bytes, big-endian), SHA-256 of these and the document (32), the document
//
// A Pair is used by one goroutine of one process.
type Pair struct {
	disk       Disk
	dir, name  string
	limit      int64
	generation uint64
	damaged    int
}

const (
	magic  = "wwp1"
	header = len(magic) + 8 + sha256.Size
)

// OpenPair reads the newest whole document of at most limit bytes, nil when there is none. A nil disk is the real one. A
// file that cannot be read counts as damaged: the other one has the document before it.
func OpenPair(dir, name string, limit int64, disk Disk) (*Pair, []byte) {
	if disk == nil {
		disk = OS{}
	}
	p := &Pair{disk: disk, dir: dir, name: name, limit: limit}
	var newest []byte
	for i := range uint64(2) {
		b, err := disk.Read(p.path(i), limit+int64(header))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		generation, document, whole := decode(b)
		switch {
		case err != nil || !whole:
			p.damaged++
		case generation > p.generation:
			p.generation, newest = generation, document
		}
	}
	return p, newest
}

// Damaged returns how many of the two files were there but not whole when the pair was opened.
func (p *Pair) Damaged() int { return p.damaged }

// Save stores a document. When it returns nil the document survives a power cut; otherwise the one before does, or this
// one in whole.
func (p *Pair) Save(document []byte) error {
	if int64(len(document)) > p.limit {
		return fmt.Errorf("%s in %s: a document of %d bytes, over %d", p.name, p.dir, len(document), p.limit)
	}
	next := p.path((p.generation + 1) % 2)
	if err := p.disk.WriteSync(next+".new", encode(p.generation+1, document)); err != nil {
		return fmt.Errorf("%s: %w; make room on this file system", next, err)
	}
	if err := p.disk.Rename(next+".new", next); err != nil {
		return err
	}
	// From here the new generation may be what the next start finds, so it must not be overwritten in place of the old.
	p.generation++
	return p.disk.SyncDir(p.dir)
}

func (p *Pair) path(i uint64) string { return filepath.Join(p.dir, fmt.Sprintf("%s.%d", p.name, i)) }

func encode(generation uint64, document []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte(magic), generation)
	sum := sha256.Sum256(append(b[:len(b):len(b)], document...))
	return append(append(b, sum[:]...), document...)
}

func decode(b []byte) (generation uint64, document []byte, whole bool) {
	if len(b) < header || string(b[:len(magic)]) != magic {
		return 0, nil, false
	}
	head, sum, document := b[:header-sha256.Size], b[header-sha256.Size:header], b[header:]
	if got := sha256.Sum256(append(head[:len(head):len(head)], document...)); string(got[:]) != string(sum) {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(head[len(magic):]), document, true
}

// OS is the Disk of the operating system. Files are for their owner only.
type OS struct{}

// Read implements Disk.
func (OS) Read(name string, limit int64) ([]byte, error) { return Read(name, limit) }

// WriteSync implements Disk.
func (OS) WriteSync(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// Rename implements Disk. What is no file gives way.
func (OS) Rename(from, to string) error {
	if info, err := os.Lstat(to); err == nil && info.IsDir() {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	return os.Rename(from, to)
}

// SyncDir implements Disk.
func (OS) SyncDir(dir string) error { return SyncDir(dir) }
