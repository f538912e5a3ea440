package exchange

import (
	"context"
	"sync"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// State is where a device stands in a swarm. Fields that a reader does not know, or that are not there, change nothing but
// how well devices share.
type State struct {
	Revision uint64 `json:"rev"`                // of this device's state; 0 is before the first
	Chunks   int    `json:"chunks"`             // distinct, of the index
	Have     []byte `json:"have"`               // a swarm.Set
	Fetching []int  `json:"fetching,omitempty"` // chunks that it fetches from the origin: swarm.Set.Runs
	Pack     string `json:"pack,omitempty"`     // swarm.Pack.ID
	Covers   []byte `json:"covers,omitempty"`   // swarm.Pack.Chunks, a swarm.Set; only for who asks anew, as it is long and stays
	Received int64  `json:"received,omitempty"` // bytes from the origin, so far
}

// Board is where a device posts its state for neighbours to wait at.
type Board struct {
	mu      sync.Mutex
	state   State
	changed chan struct{} // closed when state changes
}

// NewBoard returns a board that says "nothing yet" about an index of so many distinct chunks.
func NewBoard(chunks int, pack swarm.Pack) *Board {
	b := &Board{state: State{Chunks: chunks, Pack: pack.ID}, changed: make(chan struct{})}
	if pack.ID != "" {
		b.state.Covers = pack.Chunks.Bytes()
	}
	b.Post(swarm.NewSet(chunks), swarm.Set{}, 0)
	return b
}

// Post replaces what the board says.
func (b *Board) Post(have, claims swarm.Set, received int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.Revision++
	b.state.Have, b.state.Fetching, b.state.Received = have.Bytes(), claims.Runs(), received
	close(b.changed)
	b.changed = make(chan struct{})
}

// Await returns the state once it is another than the revision, or as it is when ctx ends. Revision 0 asks anew.
func (b *Board) Await(ctx context.Context, revision uint64) State {
	for {
		b.mu.Lock()
		state, changed := b.state, b.changed
		b.mu.Unlock()
		if revision != 0 {
			state.Covers = nil
		}
		if state.Revision != revision {
			return state
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return state
		}
	}
}
