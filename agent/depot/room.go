package depot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/waxwing-ota/waxwing/agent/install"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
)

// Room says who leaves when there must be room.
type Room struct {
	Wanted func(firmware.Digest) bool // releases that stay
	Leaves func(firmware.Digest)      // hears of each that goes, before it does: it is not to be opened again
}

// Begin opens the place of a payload of size bytes, with what an earlier Begin left in it, and makes room. The error
// matches ErrFull when that is not possible; then nothing has changed but that room was made.
func (s *Store) Begin(manifest firmware.Digest, size int64, r Room) (install.Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sweep(manifest.String()); err != nil {
		return nil, err
	}
	if size > s.o.Space {
		return nil, fmt.Errorf("%d bytes into a space of %d; set depot.space: %w", size, s.o.Space, ErrFull)
	}
	for s.used()+size > s.o.Space {
		if !s.evict(r) {
			return nil, fmt.Errorf("%d bytes beside %d that are wanted, in a space of %d; set depot.space: %w", size, s.used(), s.o.Space, ErrFull)
		}
	}
	for {
		left, err := s.o.Free(s.o.Dir)
		if err != nil {
			return nil, err
		}
		need := size - s.written(manifest) + reserve
		if left >= need {
			break
		}
		if !s.evict(r) {
			return nil, fmt.Errorf("%d bytes are free on the disk of %s and %d are needed: %w", left, s.o.Dir, need, ErrFull)
		}
	}
	f, err := os.OpenFile(s.path(manifest, ".img"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("depot: %w", err)
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("depot: %w", err), f.Close())
	}
	return f, nil
}

// written returns how much of the disk an unfinished payload takes already.
func (s *Store) written(manifest firmware.Digest) int64 {
	var at unix.Stat_t
	if unix.Stat(s.path(manifest, ".img"), &at) != nil {
		return 0
	}
	return at.Blocks * 512
}

// Finish keeps the payload of the last Begin, which is whole and durable, with its index.
func (s *Store) Finish(held install.Held, index *firmware.Index) error {
	encoded := index.Encode()
	held.Index = firmware.Sum(encoded)
	r := record{Held: held, Since: s.o.Now().UTC()}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) > 0 && !r.Since.After(s.all[0].Since) { // the clock was set
		r.Since = s.all[0].Since.Add(1)
		if b, err = json.Marshal(r); err != nil {
			return err
		}
	}
	if err := atomicfile.Write(s.path(held.Manifest, ".caibx"), encoded, 0o600); err != nil {
		return fmt.Errorf("depot: %w", err)
	}
	if err := atomicfile.Write(s.path(held.Manifest, ".json"), b, 0o600); err != nil {
		return fmt.Errorf("depot: %w", err)
	}
	s.all = append([]record{r}, s.all...)
	return nil
}

// Discard gives up what Begin began, so that the disk is not full of what is of no use.
func (s *Store) Discard(manifest firmware.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(manifest) >= 0 {
		return nil
	}
	return s.remove(manifest)
}

// Evict makes some room; it reports false when all that is kept is wanted.
func (s *Store) Evict(r Room) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.evict(r)
}

// Forget drops a release that turns out to be of no use. The next Begin of it goes on with what its payload holds.
func (s *Store) Forget(manifest firmware.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(manifest); i >= 0 {
		s.all = append(s.all[:i], s.all[i+1:]...)
	}
	return missing(os.Remove(s.path(manifest, ".json")))
}

// evict removes the oldest release that nobody wants. The lock is held, also while Leaves is called.
func (s *Store) evict(r Room) bool {
	for i := len(s.all) - 1; i >= 0; i-- {
		manifest := s.all[i].Manifest
		if r.Wanted(manifest) {
			continue
		}
		r.Leaves(manifest)
		if s.remove(manifest) != nil {
			return false // the disk is at fault, and the next would not go either
		}
		s.all = append(s.all[:i], s.all[i+1:]...)
		return true
	}
	return false
}

// remove removes the files of a release, the record first.
func (s *Store) remove(manifest firmware.Digest) error {
	for _, end := range []string{".json", ".caibx", ".img"} {
		if err := missing(os.Remove(s.path(manifest, end))); err != nil {
			return fmt.Errorf("depot: %w", err)
		}
	}
	return nil
}

// missing forgives that something is not there.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
