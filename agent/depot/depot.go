// Package depot keeps whole payloads on a disk for the neighbours of a depot: as many as fit into a space, the oldest of
// those that nobody wants any more leaving first.
//
// A release is three files, named by the digest of its manifest: <digest>.img is the payload, sparse, as a slot would hold
// it; <digest>.caibx its index; <digest>.json the record. The record is written last, when payload and index are durable,
// and removed first, so it is there only while it is true. A payload without a record is one that was not finished: the
// next Begin of the same release goes on with it, and that of another one removes it.
//
// Files that are removed while somebody reads from them stay readable to him, so room is made without breaking anything.
package depot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waxwing-ota/waxwing/agent/install"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
)

const (
	maxRecord = 16 << 10
	// reserve is what is left free on the disk, for the agent's own state and everybody else, in bytes.
	reserve = 32 << 20
)

// ErrFull says that there is no room and nothing that could make any.
var ErrFull = errors.New("the depot is full")

// Options configure Open.
type Options struct {
	Dir   string // made when missing
	Space int64  // bytes of payloads that are kept at most
	// Free returns how many bytes are free on the disk of a folder; nil: as the kernel says.
	Free func(dir string) (int64, error)
	Now  func() time.Time // nil: time.Now
}

// Store is the payloads. It is safe for concurrent use, but for Begin, Finish and Discard, of which there is one at a time.
type Store struct {
	o Options

	mu  sync.Mutex
	all []record // the newest first
}

// record is a payload that is whole.
type record struct {
	install.Held
	Since time.Time `json:"since"` // when it was
}

// Open reads what is kept. What cannot be read is not kept.
func Open(o Options) (*Store, error) {
	if o.Free == nil {
		o.Free = free
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("depot: %w", err)
	}
	s := &Store{o: o}
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("depot: %w", err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		if r, err := s.read(name); err == nil {
			s.all = append(s.all, r)
		} else if err := os.Remove(filepath.Join(o.Dir, e.Name())); err != nil {
			return nil, fmt.Errorf("depot: %w", err)
		}
	}
	s.sort()
	return s, s.sweep("")
}

// sort puts the newest first.
func (s *Store) sort() {
	slices.SortStableFunc(s.all, func(a, b record) int { return b.Since.Compare(a.Since) })
}

func (s *Store) read(name string) (r record, err error) {
	b, err := atomicfile.Read(filepath.Join(s.o.Dir, name+".json"), maxRecord)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, err
	}
	info, err := os.Stat(filepath.Join(s.o.Dir, name+".img"))
	if err != nil {
		return r, err
	}
	if r.Manifest.String() != name || r.Index.IsZero() || info.Size() != r.Size {
		return r, fmt.Errorf("record %s is not of its payload: %w", name, install.ErrUnknown)
	}
	return r, nil
}

// sweep removes files of releases that have no record, but for the newest unfinished payload when keep is empty, or else
// that of keep.
func (s *Store) sweep(keep string) error {
	entries, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return fmt.Errorf("depot: %w", err)
	}
	known := map[string]bool{}
	for _, r := range s.all {
		known[r.Manifest.String()] = true
	}
	if keep == "" {
		var newest time.Time
		for _, e := range entries {
			name, payload := strings.CutSuffix(e.Name(), ".img")
			info, err := e.Info()
			if payload && !known[name] && err == nil && info.ModTime().After(newest) {
				keep, newest = name, info.ModTime()
			}
		}
	}
	var errs []error
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ".")
		if !known[name] && e.Name() != keep+".img" {
			errs = append(errs, os.Remove(filepath.Join(s.o.Dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// List returns what is kept, the newest first.
func (s *Store) List() []install.Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]install.Held, len(s.all))
	for i, r := range s.all {
		out[i] = r.Held
	}
	return out
}

// Has reports whether a release is kept.
func (s *Store) Has(manifest firmware.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(manifest) >= 0
}

func (s *Store) find(manifest firmware.Digest) int {
	return slices.IndexFunc(s.all, func(r record) bool { return r.Manifest == manifest })
}

// Used returns how many bytes the payloads have; holes in them count.
func (s *Store) Used() (sum int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used()
}

func (s *Store) used() (sum int64) {
	for _, r := range s.all {
		sum += r.Size
	}
	return sum
}

// Space returns how many they may have.
func (s *Store) Space() int64 { return s.o.Space }

// Open returns a kept payload and its index, to read from.
func (s *Store) Open(manifest firmware.Digest) (install.Payload, *firmware.Index, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(manifest)
	if i < 0 {
		return nil, nil, fmt.Errorf("depot: release %s: %w", manifest, install.ErrUnknown)
	}
	b := s.index(s.all[i])
	if b == nil {
		return nil, nil, fmt.Errorf("depot: the index of release %s is lost: %w", manifest, install.ErrUnknown)
	}
	index, err := firmware.ParseIndex(b)
	if err != nil {
		return nil, nil, fmt.Errorf("depot: release %s: %w: %w", manifest, install.ErrUnknown, err)
	}
	f, err := os.Open(s.path(manifest, ".img"))
	if err != nil {
		return nil, nil, fmt.Errorf("depot: release %s: %w: %w", manifest, install.ErrUnknown, err)
	}
	return f, index, nil
}

// Object returns the index with a digest if one of what is kept has it, else nil.
func (s *Store) Object(sum firmware.Digest) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.all {
		if r.Index == sum {
			return s.index(r)
		}
	}
	return nil
}

func (s *Store) index(r record) []byte {
	b, err := atomicfile.Read(s.path(r.Manifest, ".caibx"), firmware.MaxIndexSize)
	if err != nil || firmware.Sum(b) != r.Index {
		return nil
	}
	return b
}

func (s *Store) path(manifest firmware.Digest, end string) string {
	return filepath.Join(s.o.Dir, manifest.String()+end)
}

func free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("depot: %w", err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:unconvert // 32 bits wide on 32-bit machines
}
