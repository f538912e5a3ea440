package agent

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

// Limits of what is kept of patches for neighbours.
const (
	keepMost   = 8 << 20 // bytes
	keepPart   = 8       // no more than this part of the room that there is
	keptFile   = "patches"
	keptRecord = "patches.json"
	maxRecord  = 4 << 20
)

// passed is the patches of the newest update as they came, to be passed on to neighbours with the same base: also after the
// restart, when the next stage of a rollout begins. They lie in the state directory until another update needs the place.
type passed struct {
	dir string
	log *slog.Logger

	mu   sync.Mutex
	file *os.File     // nil: nothing is kept
	kept *remote.Kept // in it
	record
}

// record is what a restart needs to know of the file.
type record struct {
	Payload firmware.Digest `json:"payload"` // that the patches lead to
	Groups  [][]int         `json:"groups"`  // numbers of its distinct chunks, of all groups of the pack
	Spans   []remote.Span   `json:"spans"`
}

// load finds what was kept before the restart.
func (p *passed) load() {
	b, err := atomicfile.Read(filepath.Join(p.dir, keptRecord), maxRecord)
	if err != nil {
		return // most likely there is none; what is of use can be had again
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var r record
	if err = json.Unmarshal(b, &r); err == nil {
		p.file, err = os.Open(filepath.Join(p.dir, keptFile))
	}
	if err != nil {
		p.log.Warn("patches that were kept for neighbours are lost", "error", err)
		return
	}
	p.record, p.kept = r, remote.OpenKept(p.file, r.Spans)
}

// begin lets go of what is kept and returns a place for the patches that lead to a payload; nil: there is none.
func (p *passed) begin(payload firmware.Digest) *remote.Kept {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
	limit := int64(keepMost)
	var fs unix.Statfs_t
	if err := unix.Statfs(p.dir, &fs); err == nil {
		limit = min(limit, int64(fs.Bavail)*int64(fs.Bsize)/keepPart) //nolint:unconvert // 32 bits wide on 32-bit machines
	}
	f, err := os.OpenFile(filepath.Join(p.dir, keptFile), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		p.log.Warn("patches are not kept for neighbours, who get chunks", "error", err)
		return nil
	}
	p.file, p.kept, p.record = f, remote.NewKept(f, limit), record{Payload: payload}
	return p.kept
}

// drop lets go of what is kept. Whoever asks for it still is told that it is not there. The lock is held.
func (p *passed) drop() {
	if p.file == nil {
		return
	}
	closeQuietly(p.file)
	p.file, p.kept, p.record = nil, nil, record{}
	for _, name := range []string{keptRecord, keptFile} { // the record first
		_ = os.Remove(filepath.Join(p.dir, name)) // begin says what is wrong
	}
}

// of notes the groups of which patches come.
func (p *passed) of(groups [][]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Groups = groups
}

// save lets what is kept survive a restart.
func (p *passed) save() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == nil || len(p.Groups) == 0 {
		return
	}
	r := p.record
	r.Spans = p.kept.Spans()
	b, err := json.Marshal(r)
	if err == nil {
		err = p.file.Sync()
	}
	if err == nil && len(b) <= maxRecord {
		err = atomicfile.Write(filepath.Join(p.dir, keptRecord), b, 0o600)
	}
	if err != nil {
		p.log.Warn("patches are kept for neighbours until the restart only", "error", fmt.Errorf("%s: %w", keptRecord, err))
	}
}

// on adds what neighbours may take of patches to the trade in a payload's chunks.
func (p *passed) on(payload firmware.Digest, s Swarm) Swarm {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept != nil && p.Payload == payload {
		s.Groups, s.Patches = p.Groups, p.kept
	}
	return s
}
