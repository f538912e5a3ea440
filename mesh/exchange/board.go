package exchange

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// State is where a device stands in a swarm, and what it knows of others in it. Fields that a reader does not know, or that
// are not there, change nothing but how well devices share.
type State struct {
	Revision uint64 `json:"rev"`                // of this device's state; 0 is before the first
	Chunks   int    `json:"chunks"`             // distinct, of the index
	Have     []byte `json:"have"`               // a swarm.Set
	Fetching []int  `json:"fetching,omitempty"` // chunks that it fetches from the origin: swarm.Set.Runs
	Near     []int  `json:"near,omitempty"`     // what others have, and how far they are: swarm.Near.Runs
	Pack     string `json:"pack,omitempty"`     // swarm.Pack.ID
	Patches  []int  `json:"patches,omitempty"`  // groups of the pack that it passes on: swarm.Set.Runs
	Link     string `json:"link,omitempty"`     // swarm.Link
	Received int64  `json:"received,omitempty"` // bytes from the origin, so far
	// Words of other devices, and what packs cover, that are news since the revision that was asked with.
	Words []Word `json:"words,omitempty"`
	Packs []Pack `json:"packs,omitempty"`
}

// Word is a swarm.Word as it travels.
type Word struct {
	Device   string `json:"device"`
	Revision uint64 `json:"rev"`
	Fetching []int  `json:"fetching,omitempty"`
	Pack     string `json:"pack,omitempty"`
	Link     string `json:"link,omitempty"`
	Received int64  `json:"received,omitempty"`
}

// Pack is a swarm.Pack as it travels.
type Pack struct {
	ID     string `json:"id"`
	Covers []byte `json:"covers"` // a swarm.Set
}

// Words of others are passed on together: each device has one every second while it receives, which is no hurry, and a new one
// when what it claims changes.
const (
	passSoon  = 20 * time.Millisecond
	passLater = 250 * time.Millisecond
)

// maxPacks is how many packs a swarm may have: one for each release that devices come from.
const maxPacks = 16

// Board is where a device posts its state for neighbours to wait at.
type Board struct {
	self string

	mu      sync.Mutex
	state   State
	news    *swarm.News
	packs   map[string]told
	changed chan struct{} // closed when state changes
	due     time.Time     // when it does by itself, as there are words to pass on; zero: never

	followers map[string]*follower
	came      chan string // devices that began to follow; buffered
}

// told is a pack that is passed on.
type told struct {
	Pack
	since uint64 // revision that brought it
}

// NewBoard returns a board of a device that says "nothing yet" about an index of so many distinct chunks.
func NewBoard(self string, chunks int, own swarm.Pack) *Board {
	b := &Board{
		self: self, state: State{Chunks: chunks, Pack: own.ID}, news: swarm.NewNews(), packs: map[string]told{},
		changed: make(chan struct{}), followers: map[string]*follower{}, came: make(chan string, 16),
	}
	// Words of a device count by their revision, also after it has started anew.
	b.state.Revision = uint64(max(time.Now().UnixMilli(), 0))
	if own.ID != "" {
		b.packs[own.ID] = told{Pack{own.ID, own.Chunks.Bytes()}, b.state.Revision + 1}
	}
	b.Post(swarm.PeerSeen{Have: swarm.NewSet(chunks)})
	return b
}

// Post replaces what the board says of this device: what others are to see of it. Its id and pack do not change.
func (b *Board) Post(e swarm.PeerSeen) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	s := &b.state
	s.Have, s.Fetching, s.Near, s.Patches, s.Link, s.Received = e.Have.Bytes(), e.Claims.Runs(), e.Site.Runs(), e.Patches.Runs(), string(e.Link), e.Received
	b.news.Say(swarm.Word{Device: b.self, Revision: s.Revision, Claims: e.Claims.Clone(), Pack: s.Pack, Link: e.Link, Received: e.Received}, s.Revision, time.Now())
}

// pack returns the id of this device's pack.
func (b *Board) pack() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.Pack
}

// turn begins a new revision. The lock is held.
func (b *Board) turn() {
	b.due = time.Time{}
	b.state.Revision++
	close(b.changed)
	b.changed = make(chan struct{})
}

// turnIn lets a new revision begin after a while at most. The lock is held.
func (b *Board) turnIn(wait time.Duration) {
	at := time.Now().Add(wait)
	if !b.due.IsZero() && !at.Before(b.due) {
		return
	}
	b.due = at
	time.AfterFunc(wait, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.due.Equal(at) {
			b.turn()
		}
	})
}

// Hear passes on words and packs of others in a moment, and returns those words that are news.
func (b *Board) Hear(words []swarm.Word, packs []Pack) (news []swarm.Word) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next, now := b.state.Revision+1, time.Now()
	soon := false
	for _, p := range packs {
		if _, known := b.packs[p.ID]; !known && len(b.packs) < maxPacks && len(p.Covers) == len(b.state.Have) {
			b.packs[p.ID], soon = told{p, next}, true
		}
	}
	for _, w := range words {
		if w.Device == b.self {
			continue
		}
		fresh, claims := b.news.Hear(w, next, now)
		if fresh {
			news = append(news, w)
		}
		soon = soon || claims
	}
	switch {
	case soon:
		b.turnIn(passSoon)
	case len(news) > 0:
		b.turnIn(passLater)
	}
	return news
}

// Await returns the state once it is another than the revision, or as it is when ctx ends. Revision 0 asks anew.
func (b *Board) Await(ctx context.Context, revision uint64) State {
	for {
		b.mu.Lock()
		state, changed := b.since(revision), b.changed
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

// since returns the state with what is news since a revision. The lock is held.
func (b *Board) since(revision uint64) State {
	s := b.state
	for _, w := range b.news.Since(revision, time.Now()) {
		s.Words = append(s.Words, Word{w.Device, w.Revision, w.Claims.Runs(), w.Pack, string(w.Link), w.Received})
	}
	for _, p := range b.packs {
		if p.since > revision {
			s.Packs = append(s.Packs, p.Pack)
		}
	}
	slices.SortFunc(s.Words, func(a, b Word) int { return int(min(max(int64(a.Revision)-int64(b.Revision), -1), 1)) })
	return s
}

// follower is a neighbour that waits for news.
type follower struct {
	first  bool // this device is its next on the ring
	inside int  // requests of it under way
	last   time.Time
}

// stays is how long a follower keeps its place between two requests.
const stays = 2 * time.Second

// Enter gives a follower a place, if there is one: there are some for those whose next on the ring this device is. leave is
// called when its request has ended.
func (b *Board) Enter(device string, first bool) (leave func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, same := time.Now(), 0
	for id, f := range b.followers {
		if f.inside == 0 && now.Sub(f.last) > stays {
			delete(b.followers, id)
		} else if id != device && f.first == first {
			same++
		}
	}
	if most := map[bool]int{true: swarm.FirstFollowers, false: swarm.OtherFollowers}[first]; same >= most {
		return nil, false
	}
	f := b.followers[device]
	if f == nil {
		f = &follower{}
		b.followers[device] = f
		select {
		case b.came <- device:
		default: // it will be heard of
		}
	}
	f.first = first
	f.inside++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		f.inside--
		f.last = time.Now()
	}, true
}

// Came hands over devices that began to follow this one.
func (b *Board) Came() <-chan string { return b.came }
