package encode

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch"
	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

// Payload is a payload that can be read anywhere.
type Payload struct {
	Bytes  io.ReaderAt
	Index  *firmware.Index
	SHA256 firmware.Digest
}

// Options of Build.
type Options struct {
	Base, Target Payload
	// Frame returns the size of a chunk as it is stored: what fetching it without the patch costs.
	Frame    func(ctx context.Context, id firmware.ChunkID) (int64, error)
	Workers  int                     // groups that are made at a time; 0: GOMAXPROCS
	Progress func(done, total int64) // bytes of work; called from several goroutines; may be nil
}

// Built is a pack in memory: compressed bodies, a few megabytes for an upgrade.
type Built struct {
	*patch.Pack
	front  []byte
	bodies [][]byte
}

// WriteTo implements io.WriterTo.
func (b *Built) WriteTo(w io.Writer) (sum int64, err error) {
	for _, part := range append([][]byte{b.front}, b.bodies...) {
		n, err := w.Write(part)
		sum += int64(n)
		if err != nil {
			return sum, fmt.Errorf("write the pack: %w", err)
		}
	}
	return sum, nil
}

// Limits of one group.
const (
	groupPlain  = 8 << 20 // bytes that it rebuilds
	groupFrames = 2 << 20 // bytes that its chunks cost without it: a device holds about as many while it decodes
)

// scanBlock is how much of the base is read at a time.
const scanBlock = 1 << 20

// Build makes the pack that brings devices from a base to a target. Errors come from reading the payloads, from Frame or
// from ctx.
func Build(ctx context.Context, o Options) (*Built, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	b := &builder{Options: o}
	if err := b.plan(ctx); err != nil {
		return nil, err
	}
	if err := b.scan(ctx); err != nil {
		return nil, err
	}
	if err := b.encodeAll(ctx); err != nil {
		return nil, err
	}
	return b.finish()
}

type builder struct {
	Options
	anchors *anchors
	groups  []*group
	total   int64
	done    atomic.Int64
}

// group is a run of missing chunks.
type group struct {
	numbers []int // of the chunks among the distinct ones of the target
	spans   []firmware.Span
	costs   []int64 // of each chunk as it is stored
	plain   int
	frames  int64 // sum of costs
	body    []byte
}

// plan finds the chunks that the base lacks and puts them into groups.
func (b *builder) plan(ctx context.Context) error {
	have := make(map[firmware.ChunkID]bool, len(b.Base.Index.Chunks))
	for _, c := range b.Base.Index.Chunks {
		have[c.ID] = true
	}
	b.total = b.Base.Index.Size()
	g := &group{}
	number := 0
	seen := make(map[firmware.ChunkID]bool, len(b.Target.Index.Chunks))
	for i, c := range b.Target.Index.Chunks {
		if seen[c.ID] {
			continue
		}
		seen[c.ID] = true
		number++
		if have[c.ID] {
			continue
		}
		frame, err := b.Frame(ctx, c.ID)
		if err != nil {
			return fmt.Errorf("size of chunk %s: %w", c.ID, err)
		}
		if len(g.numbers) > 0 && (g.plain+int(c.Size) > groupPlain || g.frames+frame > groupFrames) {
			b.groups = append(b.groups, g)
			g = &group{}
		}
		g.numbers = append(g.numbers, number-1)
		g.spans = append(g.spans, b.Target.Index.Span(i))
		g.costs = append(g.costs, frame)
		g.plain += int(c.Size)
		g.frames += frame
		b.total += int64(c.Size)
	}
	if len(g.numbers) > 0 {
		b.groups = append(b.groups, g)
	}
	return nil
}

func (b *builder) tell(n int) {
	if b.Progress != nil {
		b.Progress(b.done.Add(int64(n)), b.total)
	}
}

// scan takes the anchors of the base.
func (b *builder) scan(ctx context.Context) error {
	size := b.Base.Index.Size()
	if len(b.groups) == 0 {
		return nil
	}
	b.anchors = newAnchors(size)
	buf := make([]byte, scanBlock+window)
	for at := int64(0); at < size; at += scanBlock {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := int(min(int64(len(buf)), size-at))
		if err := readAt(b.Base.Bytes, buf[:n], at); err != nil {
			return fmt.Errorf("read the base: %w", err)
		}
		b.anchors.add(buf[:n], at)
		b.tell(min(n, scanBlock))
	}
	return nil
}

func (b *builder) encodeAll(ctx context.Context) error {
	waiting := make(chan *group, len(b.groups))
	for _, one := range b.groups {
		waiting <- one
	}
	close(waiting)
	g, ctx := errgroup.WithContext(ctx)
	for range min(b.Workers, len(b.groups)) {
		g.Go(func() error {
			w := newWorker(b)
			for one := range waiting {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := w.encode(one); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// worker makes one group after the other, in the same memory.
type worker struct {
	*builder
	joined  []byte // ranges of the base, and the target
	target  []byte
	aligner aligner
	coder   delta.Encoder
}

func newWorker(b *builder) *worker {
	largest := 0
	for _, g := range b.groups {
		largest = max(largest, g.plain)
	}
	most := largest + int(min(b.Base.Index.Size(), mostBase))
	return &worker{
		builder: b, joined: make([]byte, 0, most), target: make([]byte, 0, largest),
		aligner: aligner{steps: make([]step, largest+1)}, coder: delta.Encoder{Places: make([]int32, most)},
	}
}

// encode makes the body of a group.
func (w *worker) encode(g *group) error {
	size := w.Base.Index.Size()
	sizes := make([]int, 0, len(g.spans))
	w.target = w.target[:0]
	var wanted [][]delta.Range
	for _, s := range g.spans {
		at := len(w.target)
		w.target = w.target[:at+s.Size]
		if err := readAt(w.Target.Bytes, w.target[at:], s.Offset); err != nil {
			return fmt.Errorf("read the target: %w", err)
		}
		sizes = append(sizes, s.Size)
		wanted = append(wanted, w.anchors.resemble(w.target[at:], size))
	}
	ranges := choose(wanted)
	w.joined = w.joined[:0]
	for _, r := range ranges {
		at := len(w.joined)
		w.joined = slices.Grow(w.joined, int(r.Length))[:at+int(r.Length)]
		if err := readAt(w.Base.Bytes, w.joined[at:], r.Offset); err != nil {
			return fmt.Errorf("read the base: %w", err)
		}
	}
	base := len(w.joined)
	w.joined = append(w.joined, w.target...)
	if len(w.coder.Places) < base {
		w.coder.Places = make([]int32, len(w.joined)) // a single displacement of each chunk was more than is meant
	}
	segments := w.aligner.align(w.joined[:base], w.target, sizes, g.costs, w.coder.Places)
	body := w.coder.Encode(ranges, w.joined, sizes, segments)
	if int64(len(body)) > g.frames/2 {
		// What resembles so little may do better without: the target's own repetitions are worth more.
		if alone := w.coder.Encode(nil, w.target, sizes, nil); len(alone) < len(body) {
			body = alone
		}
	}
	if int64(len(body)) < g.frames && len(body) <= delta.MaxBody {
		g.body = body
	}
	w.tell(g.plain)
	return nil
}

func (b *builder) finish() (*Built, error) {
	difference, err := patch.Difference(b.Base.Index, b.Target.Index.Encode())
	if err != nil {
		return nil, err
	}
	var groups []patch.Group
	built := &Built{}
	for _, g := range b.groups {
		if g.body != nil {
			groups = append(groups, patch.Group{Chunks: g.numbers, Size: int64(len(g.body))})
			built.bodies = append(built.bodies, g.body)
		}
	}
	built.front, built.Pack, err = patch.Encode(b.Base.SHA256, b.Target.SHA256, difference, groups)
	return built, err
}

// readAt fills b or returns an error.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	return fmt.Errorf("at %d: %w", at+int64(n), err)
}
