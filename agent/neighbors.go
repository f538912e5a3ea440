package agent

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Neighbors is where missing chunks come from: the devices nearby and, through them, the origin.
type Neighbors interface {
	// Run serves and finds neighbours until ctx ends.
	Run(ctx context.Context) error
	// Share offers the chunks of an index, named by the digest of its encoded form, until stop is called.
	Share(swarm firmware.Digest, index *firmware.Index, src firmware.Source) (stop func())
	// Fetch gets chunks and hands each over, and returns how many bytes neighbours gave on the wire.
	Fetch(ctx context.Context, s Swarm, missing []firmware.Chunk, deliver func(plain []byte, id firmware.ChunkID) error) (peers int64, err error)
	// Object gets small content by its digest from neighbours alone; at most limit bytes, verified.
	Object(ctx context.Context, sum firmware.Digest, limit int64) ([]byte, error)
	// Sight returns how many neighbours are in sight and how many bytes they have taken so far.
	Sight() (neighbors int, served int64)
}

// Sources is what the neighbours' side is made of: where it fetches, and what small content it may hand out.
type Sources struct {
	Origin  Origin
	Objects func(firmware.Digest) []byte
}

// repository reads signed metadata from the origin, and what its digest proves from neighbours first.
type repository struct{ agent *Agent }

// Fetch implements trust.Fetcher.
func (r repository) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	if sum, ok := firmware.TargetDigest(path); ok {
		if b, err := r.agent.neighbors.Object(ctx, sum, limit); err == nil {
			return b, nil
		}
	}
	return r.agent.origin.Fetch(ctx, path, limit)
}

// Swarm is one index and what this device has of it, which neighbours may take.
type Swarm struct {
	ID    firmware.Digest
	Index *firmware.Index
	Have  firmware.Source
}

// Origin hands over chunks as they are stored at the server.
type Origin interface {
	Chunk(ctx context.Context, id firmware.ChunkID) (frame []byte, err error)
}

// alone fetches everything from the origin: a device without neighbours.
type alone struct{ origin Origin }

// Alone returns Neighbors for a device that shall not talk to any.
func Alone(o Origin) Neighbors { return alone{o} }

// Run implements Neighbors.
func (alone) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// Share implements Neighbors.
func (alone) Share(firmware.Digest, *firmware.Index, firmware.Source) func() { return func() {} }

// Sight implements Neighbors.
func (alone) Sight() (int, int64) { return 0, 0 }

// Object implements Neighbors.
func (alone) Object(context.Context, firmware.Digest, int64) ([]byte, error) {
	return nil, firmware.ErrNotFound
}

// Fetch implements Neighbors. Three requests are under way at a time, which hides the round trip and bounds the memory.
func (a alone) Fetch(ctx context.Context, _ Swarm, missing []firmware.Chunk, deliver func([]byte, firmware.ChunkID) error) (int64, error) {
	g, busy := errgroup.WithContext(ctx)
	g.SetLimit(3)
	for _, c := range missing {
		if busy.Err() != nil {
			break
		}
		g.Go(func() error {
			frame, err := a.origin.Chunk(busy, c.ID)
			if err != nil {
				return err
			}
			plain, err := firmware.DecodeChunk(frame, c.ID, int(c.Size))
			if err != nil {
				return err
			}
			return deliver(plain, c.ID)
		})
	}
	return 0, errors.Join(g.Wait(), ctx.Err())
}
