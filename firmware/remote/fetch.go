package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch"
	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

// Plan says how a batch is fetched: the bytes of the pack that are still to come for it, and the chunks that come whole.
func (r *Remote) Plan(batch []firmware.Chunk) (patchBytes int64, whole []firmware.Chunk) {
	groups, whole := r.plan(batch)
	for _, g := range groups {
		_, _, left := r.known(g.Offset, g.Size)
		patchBytes += left
	}
	return patchBytes, whole
}

// wanted is a group, and the chunks of it that are wanted.
type wanted struct {
	patch.Group
	number int
	pack   *patch.Pack
	chunks []firmware.Chunk // of the whole group
	ids    map[firmware.ChunkID]firmware.Chunk
}

// plan parts a batch into groups and chunks to be fetched whole, both in the order of the batch.
func (r *Remote) plan(batch []firmware.Chunk) (groups []*wanted, whole []firmware.Chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	by := map[int]*wanted{}
	for _, c := range batch {
		i, ok := r.group[c.ID]
		if !ok || r.pack == nil {
			whole = append(whole, c)
			continue
		}
		if by[i] == nil {
			by[i] = &wanted{number: i, Group: r.pack.Groups[i], pack: r.pack, ids: map[firmware.ChunkID]firmware.Chunk{}}
			groups = append(groups, by[i])
			for _, n := range by[i].Chunks {
				by[i].chunks = append(by[i].chunks, r.distinct[n])
			}
		}
		by[i].ids[c.ID] = c
	}
	groups = slices.DeleteFunc(groups, func(g *wanted) bool {
		if g.worth() {
			return false
		}
		whole = append(whole, g.left()...)
		return true
	})
	return groups, whole
}

// worth decides between a group and its chunks, of which only the plain sizes are known. What is wanted in full, or nearly,
// comes as a group, because a publisher has compared. For a part it is assumed that a chunk compresses to a third.
func (g *wanted) worth() bool {
	var all, some int64
	for _, c := range g.chunks {
		all += int64(c.Size)
	}
	for _, c := range g.ids {
		some += int64(c.Size)
	}
	return 3*some >= 2*all || 3*g.Size <= some
}

// left returns the chunks of the group that are wanted still, in its order.
func (g *wanted) left() (left []firmware.Chunk) {
	for _, c := range g.chunks {
		if _, ok := g.ids[c.ID]; ok {
			left = append(left, c)
		}
	}
	return left
}

// Fetch fetches chunks of the target and returns how many bytes came over the line for them. deliver may be called from
// several goroutines at once, in any order. The first error ends it, but for one that matches ErrHeld: that is returned when
// the rest has come. What was delivered until then counts.
func (r *Remote) Fetch(ctx context.Context, batch []firmware.Chunk, deliver Deliver) (n int64, err error) {
	groups, whole := r.plan(batch)
	var line atomic.Int64
	held := make(chan error, 1) // the first
	part := func(err error) error {
		if !errors.Is(err, ErrHeld) {
			return err
		}
		select {
		case held <- err:
		default:
		}
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cap(r.requests) + cap(r.decoders)) // some wait for the line while others decode
	for _, group := range groups {
		g.Go(func() error {
			if err := r.patched(ctx, group, deliver, &line); err != nil {
				return part(err)
			}
			for _, c := range group.left() {
				if err := part(r.plain(ctx, c, deliver, &line)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, c := range whole {
		g.Go(func() error { return part(r.plain(ctx, c, deliver, &line)) })
	}
	if err = g.Wait(); err == nil && len(held) > 0 {
		err = <-held
	}
	return line.Load(), err
}

// plain fetches one chunk whole.
func (r *Remote) plain(ctx context.Context, c firmware.Chunk, deliver Deliver, line *atomic.Int64) error {
	if err := take(ctx, r.requests); err != nil {
		return err
	}
	frame, err := r.o.Files.Fetch(ctx, "chunks/"+firmware.ChunkPath(c.ID), firmware.MaxFrameSize)
	give(r.requests)
	line.Add(int64(len(frame)))
	r.chunk.Add(int64(len(frame)))
	if err != nil {
		return fmt.Errorf("chunk %s: %w", c.ID, err)
	}
	plain, err := firmware.DecodeChunk(frame, c.ID, int(c.Size))
	if err != nil {
		return err
	}
	return deliver(plain, c.ID)
}

// errEnough ends the decoding of a group when nothing more of it is wanted.
var errEnough = errors.New("the rest is not wanted")

// Patched gets the body of a group from somebody who has kept it, and delivers the chunks of a batch out of it. get is
// called with the group's size and returns no more than that. What was delivered counts. When the body does not yield what
// is wanted, since it is wrong or of another base, or the base here is damaged, the error matches firmware.ErrCorrupt.
func (r *Remote) Patched(ctx context.Context, group int, batch []firmware.Chunk, deliver Deliver,
	get func(ctx context.Context, size int64) ([]byte, error),
) error {
	g := r.wants(group, batch)
	if g == nil {
		return ErrNoPack
	}
	if err := r.bodies.Acquire(ctx, g.Size); err != nil {
		return err
	}
	defer r.bodies.Release(g.Size)
	body, err := get(ctx, g.Size)
	if err != nil {
		return err
	}
	wrong, err := r.decode(ctx, g, body, deliver)
	if err == nil && (wrong != nil || len(g.ids) > 0) {
		err = fmt.Errorf("the patch of group %d yields %d of %d chunks: %w", group, len(batch)-len(g.ids), len(batch),
			errors.Join(firmware.ErrCorrupt, wrong))
	}
	return err
}

// wants returns a group with the chunks of a batch, which are of it; nil when there is no such group.
func (r *Remote) wants(group int, batch []firmware.Chunk) *wanted {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pack == nil || r.distinct == nil || group < 0 || group >= len(r.pack.Groups) {
		return nil
	}
	g := &wanted{number: group, Group: r.pack.Groups[group], pack: r.pack, ids: map[firmware.ChunkID]firmware.Chunk{}}
	for _, n := range g.Chunks {
		g.chunks = append(g.chunks, r.distinct[n])
	}
	for _, c := range batch {
		if i, ok := r.group[c.ID]; ok && i == group {
			g.ids[c.ID] = c
		}
	}
	return g
}

// patched fetches a group and delivers what is wanted of it. Chunks that did not come stay in g.ids: only the network, the
// context and deliver can fail it.
func (r *Remote) patched(ctx context.Context, g *wanted, deliver Deliver, line *atomic.Int64) error {
	if r.usable() != g.pack {
		return nil // it was found to be of no use since this was planned
	}
	if err := r.bodies.Acquire(ctx, g.Size); err != nil {
		return err
	}
	defer r.bodies.Release(g.Size)
	body, n, err := r.read(ctx, g.Offset, g.Size)
	line.Add(n)
	r.patch.Add(n)
	if err != nil {
		if err = r.broken(err); errors.Is(err, ErrNoPack) || errors.Is(err, firmware.ErrMalformed) {
			return nil
		}
		return fmt.Errorf("patches: %w", err)
	}
	wrong, err := r.decode(ctx, g, body, deliver)
	if err == nil {
		r.judge(len(g.ids), len(g.chunks), wrong)
	}
	return err
}

// decode delivers what is wanted of a group, and keeps its body when all of it came out right. wrong says why some did not.
func (r *Remote) decode(ctx context.Context, g *wanted, body []byte, deliver Deliver) (wrong, fatal error) {
	var decoder *delta.Decoder
	select {
	case decoder = <-r.decoders:
		defer func() { r.decoders <- decoder }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	keep := r.o.Keep != nil
	sizes := make([]int, len(g.chunks))
	for i, c := range g.chunks {
		sizes[i] = int(c.Size)
	}
	wrong = decoder.Decode(body, r.o.Base.Payload, r.o.Base.Index.Size(), sizes, func(i int, plain []byte) error {
		id := g.chunks[i].ID
		_, want := g.ids[id]
		if last := i == len(sizes)-1; keep && (last || !want) {
			keep = firmware.Sum(plain) == id
			if keep && last { // before others hear that this device has all of it
				r.keep(g.number, body)
			}
		}
		if !want {
			return nil
		}
		err := ctx.Err()
		if err == nil {
			err = deliver(plain, id)
		}
		if err != nil && !errors.Is(err, firmware.ErrCorrupt) && !errors.Is(err, firmware.ErrNotFound) {
			fatal = err
			return err
		}
		if err == nil {
			delete(g.ids, id)
		}
		keep = keep && err == nil
		if len(g.ids) == 0 && !keep {
			return errEnough
		}
		return nil
	})
	if errors.Is(wrong, errEnough) {
		wrong = nil
	}
	return wrong, fatal
}

// keep lets others take a body.
func (r *Remote) keep(group int, body []byte) {
	if err := r.o.Keep.put(group, body); err != nil {
		r.o.Log.Warn("a patch cannot be kept for neighbours; the update goes on", "error", err)
	}
}

// badGroups is how many groups may fail before it is asked whether more fail than not: damage in a few places of a base
// spoils few, another base or a pack that was built anew spoils all.
const badGroups = 3

// judge notes how many chunks a group failed to yield, and drops a pack that costs more than it gives.
func (r *Remote) judge(lost, of int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lost == 0 {
		r.yields++
		return
	}
	if r.failures++; r.failures == 1 {
		r.o.Log.Warn("patches do not yield what they should; the base is damaged or the pack is wrong; those chunks are fetched whole",
			"chunks", lost, "of", of, "error", err)
	}
	if r.failures >= badGroups && r.failures > r.yields {
		r.forsake("most of its groups fail", err)
	}
}
