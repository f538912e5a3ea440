// Package packs makes packs of patches out of what a repository holds: the indexes and chunks of two payloads go in, a file
// at [patch.Path] comes out. Payloads are read chunk by chunk ([Payload]), so no image is ever written anywhere, and the
// base may be a release whose image nobody has any more.
//
//	info, err := packs.Build(ctx, packs.Options{Base: old, Target: new, Store: chunks, Workers: 1})
//	info, err := packs.Look(ctx, chunks, oldSum, newSum)      // fs.ErrNotExist: there is none
//
// A pack appears whole or not at all, so that it exists says that it is finished: nobody need remember what was built.
// The command line and the server build with this package; firmware/patch/encode does the work.
package packs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch"
	"github.com/waxwing-ota/waxwing/firmware/patch/encode"
	"github.com/waxwing-ota/waxwing/server/release/build"
)

// ErrTooDifferent says that two payloads share so little that patches between them are not worth the memory.
var ErrTooDifferent = errors.New("the payloads share too little")

// MaxMissing bounds the compressed bytes of the target that the base lacks: bodies are made in memory.
const MaxMissing = 512 << 20

// cacheSize is how many bytes of decoded chunks are kept of each payload.
const cacheSize = 16 << 20

// collectEarly is the heap's growth, in percent, at which garbage is collected while a pack is made.
const collectEarly = 20

// Side is one payload of a pair.
type Side struct {
	SHA256 firmware.Digest // of the payload
	Index  *firmware.Index
	Bytes  io.ReaderAt // the payload itself where it lies at hand; nil: it is read from the chunks
}

// Options of Build.
type Options struct {
	Base, Target Side
	Store        build.Store             // of the repository
	Workers      int                     // 0: one for each core
	Progress     func(done, total int64) // bytes of work; called from several goroutines; may be nil
	// Pause is called before each piece of work and may wait while the machine has better things to do; may be nil.
	Pause func(ctx context.Context) error
}

// Info describes a pack.
type Info struct {
	Bytes      int64 // of the file
	IndexBytes int64 // of the index difference in it
	Groups     int
	Chunks     int // that it carries
}

func describe(p *patch.Pack) Info {
	i := Info{Bytes: p.Size, Groups: len(p.Groups)}
	_, i.IndexBytes = p.IndexSpan()
	for _, g := range p.Groups {
		i.Chunks += len(g.Chunks)
	}
	return i
}

// Key returns where the pack of a pair rests in the blob store.
func Key(s build.Store, base, target firmware.Digest) string {
	return s.Prefix + patch.Path(base, target)
}

// Build makes a pack and stores it, whatever was there.
func Build(ctx context.Context, o Options) (Info, error) {
	if err := o.check(ctx); err != nil {
		return Info{}, err
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	// The encoder holds hundreds of megabytes without pointers: to look through them is cheap, to let the heap double is not.
	defer debug.SetGCPercent(debug.SetGCPercent(collectEarly))
	built, err := encode.Build(ctx, encode.Options{
		Base: o.side(ctx, o.Base), Target: o.side(ctx, o.Target), Frame: o.Store.Size, Workers: o.Workers, Progress: o.Progress,
	})
	if err != nil {
		return Info{}, fmt.Errorf("patches from %s to %s: %w", o.Base.SHA256, o.Target.SHA256, err)
	}
	// The store wants to know the size before the first byte.
	r, w := io.Pipe()
	go func() {
		_, err := built.WriteTo(w)
		w.CloseWithError(err)
	}()
	err = o.Store.Blob.Put(ctx, Key(o.Store, o.Base.SHA256, o.Target.SHA256), r, built.Size)
	_ = r.Close() // ends the writer when Put did not read to the end
	if err != nil {
		return Info{}, fmt.Errorf("store the pack: %w", err)
	}
	return describe(built.Pack), nil
}

// check refuses pairs that would take too much memory.
func (o *Options) check(ctx context.Context) error {
	have := make(map[firmware.ChunkID]bool, len(o.Base.Index.Chunks))
	for _, c := range o.Base.Index.Chunks {
		have[c.ID] = true
	}
	var missing int64
	for _, c := range o.Target.Index.Distinct() {
		if have[c.ID] {
			continue
		}
		n, err := o.Store.Size(ctx, c.ID)
		if err != nil {
			return fmt.Errorf("chunk %s of the target: %w", c.ID, err)
		}
		if missing += n; missing > MaxMissing {
			return fmt.Errorf("over %d MiB of chunks are new: %w", MaxMissing>>20, ErrTooDifferent)
		}
	}
	return nil
}

// side returns a payload as the encoder reads it.
func (o *Options) side(ctx context.Context, s Side) encode.Payload {
	r := s.Bytes
	if r == nil {
		r = NewPayload(s.Index, cacheSize, func(id firmware.ChunkID) ([]byte, error) { return o.Store.Frame(ctx, id) })
	}
	return encode.Payload{Bytes: patient{ReaderAt: r, wait: func() error {
		if err := ctx.Err(); err != nil || o.Pause == nil {
			return err
		}
		return o.Pause(ctx)
	}}, Index: s.Index, SHA256: s.SHA256}
}

// patient waits before it reads: the encoder reads at the beginning of each piece of its work.
type patient struct {
	io.ReaderAt
	wait func() error
}

// ReadAt implements io.ReaderAt.
func (p patient) ReadAt(b []byte, at int64) (int, error) {
	if err := p.wait(); err != nil {
		return 0, err
	}
	return p.ReaderAt.ReadAt(b, at)
}

// Look describes a pack that is there; the error matches fs.ErrNotExist when there is none.
func Look(ctx context.Context, s build.Store, base, target firmware.Digest) (Info, error) {
	f, err := s.Blob.Get(ctx, Key(s, base, target))
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	var front bytes.Buffer
	for need := int64(patch.HeadSize); ; {
		if _, err := io.CopyN(&front, f, need-int64(front.Len())); err != nil && !errors.Is(err, io.EOF) {
			return Info{}, fmt.Errorf("pack from %s to %s: %w", base, target, err)
		}
		p, more, err := patch.ParseHead(front.Bytes())
		switch {
		case err != nil:
			return Info{}, err
		case p != nil && (p.Size != f.Size() || p.Base != base || p.Target != target):
			return Info{}, fmt.Errorf("pack from %s to %s: it is another one, or not whole: %w", base, target, firmware.ErrCorrupt)
		case p != nil:
			return describe(p), nil
		case more > f.Size():
			return Info{}, fmt.Errorf("pack from %s to %s: it is cut short: %w", base, target, firmware.ErrCorrupt)
		}
		need = more
	}
}
