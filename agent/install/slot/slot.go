// Package slot installs into one of two slots: partitions, or files that stand for them.
//
// What a slot holds is remembered beside the agent's other state, never in the slot: <slot>.json, and the payload's
// index as <slot>.caibx. The record goes before the first byte is written and comes back when all bytes are verified, so
// it is there only while it is true.
package slot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"

	"github.com/waxwing-ota/waxwing/agent/install"
	"github.com/waxwing-ota/waxwing/firmware"
)

const maxRecord = 16 << 10

// Options of Slots.
type Options struct {
	Dir   string            // for the records; made when missing
	Slots map[string]string // slot → device or file; exactly two
}

// Slots is an install.Installer.
type Slots struct {
	dir   string
	paths map[string]string
}

// Open checks the slots and returns them.
func Open(o Options) (*Slots, error) {
	if len(o.Slots) != 2 {
		return nil, fmt.Errorf("%d slots are configured; two are needed, such as {\"a\": \"/dev/mmcblk0p2\", \"b\": \"/dev/mmcblk0p3\"}", len(o.Slots))
	}
	var infos []fs.FileInfo
	for name, path := range o.Slots {
		if err := firmware.CheckName("slot", name); err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("slot %s: %w; set slots.%s to the partition", name, err, name)
		}
		infos = append(infos, info)
	}
	if os.SameFile(infos[0], infos[1]) {
		return nil, fmt.Errorf("both slots are %s; an update would write over what runs", slices.Collect(maps.Values(o.Slots))[0])
	}
	return &Slots{dir: o.Dir, paths: maps.Clone(o.Slots)}, os.MkdirAll(o.Dir, 0o700)
}

// Names returns the slots in order.
func (s *Slots) Names() []string { return slices.Sorted(maps.Keys(s.paths)) }

// Path returns the device or file of a slot.
func (s *Slots) Path(slot string) string { return s.paths[slot] }

// Prepare implements install.Installer.
func (s *Slots) Prepare(_ context.Context, slot, running string, size int64) (install.Place, error) {
	path, ok := s.paths[slot]
	if !ok {
		return nil, fmt.Errorf("slot %q: there is none of that name: %w", slot, fs.ErrNotExist)
	}
	if _, known := s.paths[running]; slot == running || !known {
		return nil, fmt.Errorf("slot %s, running %q: %w", slot, running, install.ErrRunning)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("slot %s: %w", slot, err)
	}
	capacity, err := f.Seek(0, io.SeekEnd) // works for files and block devices
	if err == nil && size > capacity {
		err = fmt.Errorf("a payload of %d bytes into %d: %w", size, capacity, install.ErrTooLarge)
	}
	if err == nil {
		err = s.forget(slot)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("slot %s: %w", slot, err), f.Close())
	}
	return &place{File: f, limit: size}, nil
}

// Finish implements install.Installer. The index comes first: a record without its index is no record.
func (s *Slots) Finish(_ context.Context, slot string, held install.Held, index *firmware.Index) error {
	encoded := index.Encode()
	held.Index = firmware.Sum(encoded)
	record, err := json.Marshal(held)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.file(slot, ".caibx"), encoded, 0o600); err != nil {
		return fmt.Errorf("slot %s: %w", slot, err)
	}
	if err := atomicfile.Write(s.file(slot, ".json"), record, 0o600); err != nil {
		return fmt.Errorf("slot %s: %w", slot, err)
	}
	return nil
}

// Holds implements install.Installer.
func (s *Slots) Holds(slot string) (install.Held, error) {
	b, err := atomicfile.Read(s.file(slot, ".json"), maxRecord)
	if err != nil {
		return install.Held{}, fmt.Errorf("slot %s: %w: %w", slot, install.ErrUnknown, err)
	}
	return parse(b)
}

// Open implements install.Installer.
func (s *Slots) Open(slot string) (install.Payload, *firmware.Index, error) {
	held, err := s.Holds(slot)
	if err != nil {
		return nil, nil, err
	}
	b, err := atomicfile.Read(s.file(slot, ".caibx"), firmware.MaxIndexSize)
	if err != nil || firmware.Sum(b) != held.Index {
		return nil, nil, errors.Join(fmt.Errorf("slot %s: its index is lost: %w", slot, install.ErrUnknown), err)
	}
	index, err := firmware.ParseIndex(b)
	if err != nil {
		return nil, nil, fmt.Errorf("slot %s: %w: %w", slot, install.ErrUnknown, err)
	}
	f, err := os.Open(s.paths[slot])
	if err != nil {
		return nil, nil, fmt.Errorf("slot %s: %w", slot, err)
	}
	return f, index, nil
}

func (s *Slots) forget(slot string) error {
	if err := os.Remove(s.file(slot, ".json")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return atomicfile.SyncDir(s.dir)
}

func (s *Slots) file(slot, end string) string { return filepath.Join(s.dir, slot+end) }

func parse(b []byte) (install.Held, error) {
	var h install.Held
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&h); err != nil || h.Manifest.IsZero() || h.Index.IsZero() {
		return install.Held{}, errors.Join(fmt.Errorf("a slot record is damaged: %w", install.ErrUnknown), err)
	}
	return h, nil
}

// place is a slot open for writing. It ends where the payload ends.
type place struct {
	*os.File
	limit int64
}

// WriteAt implements io.WriterAt.
func (p *place) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > p.limit {
		return 0, fmt.Errorf("write of %d bytes at %d, beyond %d: %w", len(b), off, p.limit, install.ErrTooLarge)
	}
	return p.File.WriteAt(b, off)
}
