package trust

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
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
	Floor      time.Time         `json:"floor"`                 // the newest signed time: none before it is believed
	Alive      time.Time         `json:"alive"`                 // until when root, timestamp, snapshot and targets stand

	Granted map[string]granted   `json:"granted,omitempty"` // product → a downgrade that is under way
	Spent   map[string]time.Time `json:"spent,omitempty"`   // digest of a grant that was used → its end
}

// mark is the highest sequence of an audience and the envelope that had it.
type mark struct {
	Seq    uint64          `json:"seq"`
	SHA256 firmware.Digest `json:"sha256"`
}

// maxRecord bounds a record, in bytes.
const maxRecord = 32 << 20

// remember opens the record in a folder, empty when there is none. lost says that there was one and both of its files are
// damaged.
func remember(dir string) (pair *atomicfile.Pair, rec *record, lost bool, err error) {
	pair, b := atomicfile.OpenPair(dir, "trust", maxRecord, nil)
	rec = new(record)
	if b == nil {
		return pair, rec, pair.Damaged() > 0, nil
	}
	if err := json.Unmarshal(b, rec); err != nil {
		return nil, nil, false, fmt.Errorf("%s is of another program: %w", dir, err)
	}
	return pair, rec, false, nil
}

// save stores the record durably before it returns.
func (r *record) save(to *atomicfile.Pair) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(b) > maxRecord { // it could not be read again
		return fmt.Errorf("remember trust: %d bytes, over %d: %w", len(b), maxRecord, firmware.ErrTooLarge)
	}
	if err := to.Save(b); err != nil {
		return fmt.Errorf("remember trust: %w", err)
	}
	return nil
}

// documents returns the metadata of a record that other devices may ask for, by digest: what the timestamp and the snapshot
// name. known spares hashing what was there before.
func documents(r *record, known map[firmware.Digest][]byte) map[firmware.Digest][]byte {
	out := map[firmware.Digest][]byte{}
	for _, b := range append([][]byte{r.Snapshot, r.Targets}, slices.Collect(maps.Values(r.Roles))...) {
		if len(b) == 0 {
			continue
		}
		sum, ok := firmware.Digest{}, false
		for s, old := range known {
			if ok = bytes.Equal(old, b); ok {
				sum = s
				break
			}
		}
		if !ok {
			sum = firmware.Sum(b)
		}
		out[sum] = b
	}
	return out
}

// mostOffers bounds what is offered beside the record.
const mostOffers = 8

// offer lets others have a document with a proven digest at once: they wait for it while this device goes on.
func (t *Trust) offer(sum firmware.Digest, b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.docs) < len(t.rec.Roles)+2+mostOffers {
		t.docs[sum] = b
	}
}
