package trust

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// record is all that trust remembers.
type record struct {
	Roots     [][]byte          `json:"roots"` // each verified by the one before it; the first came with the device
	Timestamp []byte            `json:"timestamp,omitempty"`
	Snapshot  []byte            `json:"snapshot,omitempty"`
	Targets   []byte            `json:"targets,omitempty"`
	Roles     map[string][]byte `json:"roles,omitempty"` // product → its role

	PolicyKeys []byte            `json:"policy_keys,omitempty"` // content of the target
	Envelopes  map[string][]byte `json:"envelopes,omitempty"`   // audience or "membership" → newest accepted
	Seen       map[string]mark   `json:"seen,omitempty"`        // the same → how far; outlives the envelope
	Counters   map[string]uint64 `json:"counters,omitempty"`    // product → committed release counter
	Floor      time.Time         `json:"floor"`                 // no time before this is believed
}

// mark is the highest sequence of an audience and the envelope that had it.
type mark struct {
	Seq    uint64          `json:"seq"`
	SHA256 firmware.Digest `json:"sha256"`
}

// vault keeps the record in two files, written in turn. Each is a generation (8 bytes, big-endian), the SHA-256 of the
// rest, and JSON. The newer one that is whole counts, so whatever a power cut leaves of the file being written, the other
// one still has the record before it.
type vault struct {
	dir        string
	generation uint64
}

// maxRecord bounds a record, in bytes.
const maxRecord = 32 << 20

var errNoRecord = errors.New("no whole record")

// load returns the newest whole record; the error matches errNoRecord when neither file is whole.
func (v *vault) load() (*record, error) {
	var newest *record
	for _, name := range v.names() {
		generation, rec, err := read(name)
		if err == nil && generation > v.generation {
			v.generation, newest = generation, rec
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("%s: %w", v.dir, errNoRecord)
	}
	return newest, nil
}

// fresh reports whether nothing was ever stored here.
func (v *vault) fresh() bool {
	for _, name := range v.names() {
		if _, err := os.Lstat(name); err == nil {
			return false
		}
	}
	return true
}

// save writes the record durably before it returns.
func (v *vault) save(r *record) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint64(nil, v.generation+1)
	sum := sha256.Sum256(append(b[:8:8], body...))
	b = append(append(b, sum[:]...), body...)
	name := v.names()[(v.generation+1)%2]
	if err := write(name, b); err != nil {
		return fmt.Errorf("remember trust: %w", err)
	}
	v.generation++
	return nil
}

func (v *vault) names() [2]string {
	return [2]string{filepath.Join(v.dir, "trust.0"), filepath.Join(v.dir, "trust.1")}
}

func read(name string) (uint64, *record, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return 0, nil, err
	}
	const head = 8 + sha256.Size
	if len(b) < head || len(b) > maxRecord {
		return 0, nil, errNoRecord
	}
	if sum := sha256.Sum256(append(b[:8:8], b[head:]...)); string(sum[:]) != string(b[8:head]) {
		return 0, nil, errNoRecord
	}
	r := new(record)
	if err := json.Unmarshal(b[head:], r); err != nil {
		return 0, nil, err
	}
	return binary.BigEndian.Uint64(b), r, nil
}

// write replaces a file durably: whatever stood there, even a directory, gives way.
func write(name string, content []byte) error {
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	temp := name + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, name); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
