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
	// Count returns how many neighbours are in sight.
	Count() int
	// Served returns how many bytes neighbours have taken so far.
	Served() int64
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

// Count implements Neighbors.
func (alone) Count() int { return 0 }

// Served implements Neighbors.
func (alone) Served() int64 { return 0 }

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
