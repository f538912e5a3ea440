package exchange

import (
	"context"
	"sync"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// State is where a device stands in a swarm.
type State struct {
	Revision uint64 `json:"rev"`    // of this device's state; 0 is before the first
	Chunks   int    `json:"chunks"` // distinct, of the index
	Have     []byte `json:"have"`   // a swarm.Set
	Claims   []int  `json:"claims"` // groups that it is fetching from the origin
}

// Board is where a device posts its state for neighbours to wait at.
type Board struct {
	mu      sync.Mutex
	state   State
	changed chan struct{} // closed when state changes
}

// NewBoard returns a board that says "nothing yet" about an index of so many distinct chunks.
func NewBoard(chunks int) *Board {
	b := &Board{state: State{Chunks: chunks}, changed: make(chan struct{})}
	b.Post(swarm.NewSet(chunks), nil)
	return b
}

// Post replaces what the board says.
func (b *Board) Post(have swarm.Set, claims []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = State{Revision: b.state.Revision + 1, Chunks: b.state.Chunks, Have: have.Bytes(), Claims: claims}
	close(b.changed)
	b.changed = make(chan struct{})
}

// Await returns the state once it is another than the revision, or as it is when ctx ends.
func (b *Board) Await(ctx context.Context, revision uint64) State {
	for {
		b.mu.Lock()
		state, changed := b.state, b.changed
		b.mu.Unlock()
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
