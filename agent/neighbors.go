package agent

import (
	"context"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
)

// Neighbors is where missing chunks come from: the devices nearby and, through them, the origin. Those to whom others can be
// introduced are a Vicinity too.
type Neighbors interface {
	// Run serves and finds neighbours until ctx ends.
	Run(ctx context.Context) error
	// Share offers what this device has of a swarm until stop is called. It needs no origin.
	Share(s Swarm) (stop func())
	// Fetch gets chunks and hands each over.
	Fetch(ctx context.Context, s Swarm, missing []firmware.Chunk, deliver func(plain []byte, id firmware.ChunkID) error) error
	// Object gets small content by its digest from neighbours alone; at most limit bytes, verified.
	Object(ctx context.Context, sum firmware.Digest, limit int64) ([]byte, error)
	// Sight returns how many neighbours are in sight and how many bytes they have taken so far.
	Sight() (neighbors int, served int64)
}

// mingle keeps the neighbours' side going. A device that cannot have any lives on without.
func (a *Agent) mingle(ctx context.Context) error {
	for {
		err := a.neighbors.Run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.Log.Warn("no neighbours for now; everything comes from the server", "error", err)
		wait := time.NewTimer(jitter(time.Minute))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
}

// Sources is what the neighbours' side is told by the agent.
type Sources struct {
	Objects  func(firmware.Digest) []byte // small content that it may hand out
	Received func() int64                 // bytes from the origin, counted while they come
	// Offended hears of each offence, of a device by its id, or of an address where no id is known. It does not block.
	Offended func(neighbor string, kind protocol.OffenceKind)
	// Shut reports whether a limit of this device keeps it from asking the origin for chunks, and from serving, so that others
	// had better not wait for it.
	Shut func() (uplink, lan bool)
	// Serve asks whether so many bytes may go to a neighbour, waits for their turn, and returns the function to say how many
	// went. The error says until when they may not; see limit.Error.
	Serve func(ctx context.Context, n int64) (went func(int64), err error)
	// Closed returns why Serve refuses everything for a while, or nil.
	Closed func() error
}

// repository reads signed metadata from the origin, and what its digest proves from neighbours first. An index that follows
// from the running slot's by a difference is taken so before it is taken whole.
type repository struct{ agent *Agent }

// Fetch implements trust.Fetcher.
func (r repository) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	sum, ok := firmware.TargetDigest(path)
	if !ok {
		return r.agent.origin.Fetch(ctx, path, limit)
	}
	if b, err := r.agent.neighbors.Object(ctx, sum, limit); err == nil {
		return b, nil
	}
	if w := r.agent.wanted.Load(); w != nil && w.Index.SHA256 == sum {
		b, err := r.agent.difference(ctx, w)
		if err == nil {
			return b, nil
		}
		r.agent.Log.Debug("the index comes whole", "because", err)
	}
	return r.agent.origin.Fetch(ctx, path, limit)
}

// Swarm is one index, what this device has of it, which neighbours may take, and where the rest comes from.
type Swarm struct {
	ID     firmware.Digest // of the index as it is encoded
	Index  *firmware.Index
	Have   firmware.Source
	Origin Origin
	Groups [][]int // numbers of distinct chunks that the origin gives together
	// Patches are those groups as they came, for neighbours with the same base; nil: there are none.
	Patches Patches
	// Patched takes a group from a neighbour and delivers a batch of its chunks; nil: none is taken. See remote.Patched.
	Patched func(ctx context.Context, group int, batch []firmware.Chunk, deliver func(plain []byte, id firmware.ChunkID) error,
		get func(ctx context.Context, size int64) ([]byte, error)) error
	// Came hears of what came from where, as it comes, from several goroutines; nil: nobody does.
	Came func(Delivery)
}

// Delivery is what one request brought.
type Delivery struct {
	From   string // the neighbour; empty: the server
	Why    string // the server was asked
	Chunks int
	Bytes  int64 // on the wire
}

// Patches are what remote.Kept keeps.
type Patches interface {
	Held() []int
	Patch(group int) ([]byte, error)
}

// Origin hands over verified chunks and returns how many bytes crossed the line for them. A batch is any chunks, or some of
// one group. What was delivered counts also when there is an error.
type Origin interface {
	Fetch(ctx context.Context, batch []firmware.Chunk, deliver func(plain []byte, id firmware.ChunkID) error) (n int64, err error)
}

// alone fetches everything from the origin: a device without neighbours.
type alone struct{}

// Alone returns Neighbors for a device that shall not talk to any.
func Alone() Neighbors { return alone{} }

// Run implements Neighbors.
func (alone) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// Share implements Neighbors.
func (alone) Share(Swarm) func() { return func() {} }

// Sight implements Neighbors.
func (alone) Sight() (int, int64) { return 0, 0 }

// Object implements Neighbors.
func (alone) Object(context.Context, firmware.Digest, int64) ([]byte, error) {
	return nil, firmware.ErrNotFound
}

// Fetch implements Neighbors.
func (alone) Fetch(ctx context.Context, s Swarm, missing []firmware.Chunk, deliver func([]byte, firmware.ChunkID) error) error {
	n, err := s.Origin.Fetch(ctx, missing, deliver)
	if s.Came != nil && err == nil {
		s.Came(Delivery{Why: "alone", Chunks: len(missing), Bytes: n})
	}
	return err
}
