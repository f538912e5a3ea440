package mesh

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// Swarm is the trade in the chunks of one index.
type Swarm struct {
	ID     firmware.Digest // of the encoded index
	Index  *firmware.Index
	Have   firmware.Source // what this device holds; neighbours may take it
	Origin Origin          // what no neighbour has comes from here
	// Groups are chunks that cross the uplink together: their numbers, each its place in Index.Distinct, ascending. What is
	// in no group crosses by itself.
	Groups [][]int
	// Patches are those groups as they cross the uplink, which neighbours with the same base may take; nil: there are none.
	Patches exchange.Patches
	// Patched takes such a group of a neighbour; nil: this device takes none. It calls get for at most size bytes and delivers
	// a batch of the group's chunks out of them. The error matches firmware.ErrCorrupt when they do not yield them.
	Patched func(ctx context.Context, group int, batch []firmware.Chunk, deliver Deliver,
		get func(ctx context.Context, size int64) ([]byte, error)) error
	// Came hears of what came from where, as it comes, from several goroutines; nil: nobody does.
	Came func(Delivery)
}

// Delivery is what one request brought.
type Delivery struct {
	From   string    // the neighbour; empty: the origin
	Why    swarm.Why // the origin was asked
	Chunks int
	Bytes  int64 // on the wire
}

// Deliver takes a chunk. An error that matches firmware.ErrCorrupt blames the giver; any other ends the fetch.
type Deliver = func(plain []byte, id firmware.ChunkID) error

// Traffic counts bytes on the wire.
type Traffic struct{ Peers, Origin int64 }

// giveUp is how long nothing may come from anywhere before a fetch ends with the origin's error.
const giveUp = time.Minute

// Neighbours are told of news so often at most, less often in a large site as every device has news and passes on that of
// others, and of bytes alone so often.
const (
	announceEvery = 50 * time.Millisecond
	announceEach  = 5 * time.Millisecond // longer for each neighbour in sight
	announceMost  = 250 * time.Millisecond
	receivedEvery = time.Second
)

// Fetch gets the missing chunks from neighbours and the origin and delivers each once, from several goroutines. While it
// runs, neighbours may take from s.Have; when it has succeeded they still may, until Share or another Fetch takes its
// place, so that nobody who still fetches loses what this device brought. It returns when all are delivered, when deliver fails, or when the origin has
// failed and nothing has come for a minute.
func (m *Mesh) Fetch(ctx context.Context, s Swarm, missing []firmware.Chunk, deliver Deliver) (Traffic, error) {
	if s.Origin == nil {
		return Traffic{}, errors.New("mesh: the swarm has no origin")
	}
	f := &fetch{
		m: m, s: s, deliver: deliver, chunks: s.Index.Distinct(), events: make(chan any, 64), links: make(chan any, 16),
		at: map[string]netip.AddrPort{}, moved: time.Now(), followed: map[string]bool{}, failures: map[netip.AddrPort]int{},
	}
	want := make(map[firmware.ChunkID]bool, len(missing))
	for _, c := range missing {
		want[c.ID] = true
	}
	var have []int
	for i, c := range f.chunks {
		if !want[c.ID] {
			have = append(have, i)
		}
	}
	f.core = swarm.New(swarm.Options{
		ID: s.ID.String(), Self: m.o.Device, Link: m.o.Link, Chunks: len(f.chunks), Have: have, Groups: s.Groups,
		HoldOff: m.holdOff(), Stall: m.o.Stall,
	})
	f.before = m.o.Received()
	f.board = exchange.NewBoard(m.o.Device, len(f.chunks), f.core.Pack())
	f.packs.put(f.core.Pack())
	f.post()
	stop := m.server.Trade(s.ID, f.board, exchange.Goods{Chunks: s.Have, Patches: s.Patches})
	m.mu.Lock()
	m.stopLast()
	m.stopLast = func() {}
	m.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.work, ctx = errgroup.WithContext(ctx)
	select {
	case m.look <- struct{}{}: // who was silent for hours may be gone
	default:
	}
	f.work.Go(func() error { return m.meet(ctx, f) })
	f.work.Go(func() error {
		defer cancel() // nobody needs to be waited for any more
		return f.run(ctx)
	})
	err := f.work.Wait()
	f.post() // some may have been on their way to be kept
	if f.core.Done() && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err != nil {
		stop()
	} else {
		m.mu.Lock()
		m.stopLast = stop
		m.mu.Unlock()
	}
	return Traffic{Peers: f.peers.Load(), Origin: f.origin.Load()}, err
}

// holdOff is no time at all for a device that has looked around long enough to know that it is alone.
func (m *Mesh) holdOff() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.o.Off || (len(m.neighbors) == 0 && !m.since.IsZero() && time.Since(m.since) > 3*m.o.HoldOff) {
		return 0
	}
	return m.o.HoldOff
}

// fetch is one Fetch. Its run goroutine owns core, at, moved and failure; the others send events.
type fetch struct {
	m       *Mesh
	s       Swarm
	deliver Deliver
	chunks  []firmware.Chunk
	core    *swarm.Swarm
	board   *exchange.Board
	packs   packs
	events  chan any // of the swarm
	links   chan any // of the links
	work    *errgroup.Group

	at       map[string]netip.AddrPort // where each neighbour in the swarm is
	followed map[string]bool           // those of them who speak for themselves
	moved    time.Time                 // when a chunk last came
	failure  error                     // of the origin, since then
	before   int64                     // m.o.Received() at the start
	told     int64                     // of it, to neighbours
	toldAt   time.Time

	restrained swarm.Link

	mu       sync.Mutex
	failures map[netip.AddrPort]int // in a row, of neighbours that were asked for news

	peers, origin atomic.Int64
}

// located is a PeerSeen with the address it was seen at, and what the neighbour passes on.
type located struct {
	swarm.PeerSeen
	at    netip.AddrPort
	words []swarm.Word
}

// gone is a PeerGone with the address that does not answer any more: the neighbour may be at another one by now.
type gone struct {
	swarm.PeerGone
	at netip.AddrPort
}

// failedOrigin says which chunks of a request did not come, and why.
type failedOrigin struct {
	chunks []int
	err    error
}

// keeps says that there may be a patch to pass on that was not there before.
type keeps struct{}

func (f *fetch) run(ctx context.Context) error {
	announce := time.NewTicker(min(max(announceEvery, time.Duration(len(f.m.addresses()))*announceEach), announceMost))
	defer announce.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()
	news := f.restrain(ctx)
	var event any = swarm.Began{}
	for {
		switch e := event.(type) {
		case located:
			f.at[e.Peer] = e.at
			f.followed[e.Peer] = !e.Once
			if heard := f.hear(ctx, e.words); len(heard) > 0 {
				news = f.step(ctx, heard) || news
			}
			event = e.PeerSeen
		case gone:
			delete(f.followed, e.Peer)
			event = e.PeerGone
			if f.at[e.Peer] != e.at {
				event = swarm.Ticked{}
			}
		case swarm.PeerLeft:
			delete(f.followed, e.Peer)
		case failedOrigin:
			f.failure = e.err
			held := errors.Is(e.err, ErrHeld)
			for _, c := range e.chunks[1:] {
				news = f.step(ctx, swarm.Lost{Chunk: c, Held: held}) || news
			}
			event = swarm.Lost{Chunk: e.chunks[0], Held: held}
		case keeps:
			news, event = true, swarm.Ticked{}
		case swarm.Got:
			f.moved, f.failure = time.Now(), nil
		}
		news = f.step(ctx, event) || news
		if f.core.Done() {
			f.post()
			return nil
		}
		if f.failure != nil && time.Since(f.moved) > giveUp {
			return f.failure
		}
		if at := f.core.Wake(time.Now()); !at.IsZero() {
			wake.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event = <-f.events:
		case <-wake.C:
			event = swarm.Ticked{}
		case <-announce.C:
			event = swarm.Ticked{}
			news = f.restrain(ctx) || news
			if news || time.Since(f.toldAt) >= receivedEvery && f.m.o.Received()-f.before > f.told {
				f.post()
				news = false
			}
		}
	}
}

// restrain lets the core know when a limit of this device begins to hold or ends.
func (f *fetch) restrain(ctx context.Context) (news bool) {
	if f.m.o.Restraint == nil {
		return false
	}
	to := f.m.o.Restraint()
	if to == f.restrained {
		return false
	}
	f.restrained = to
	return f.step(ctx, swarm.Restrained{To: to})
}

// post tells neighbours where this device stands.
func (f *fetch) post() {
	f.told, f.toldAt = f.m.o.Received()-f.before, time.Now()
	f.board.Post(swarm.PeerSeen{
		Have: f.core.Shows(), Claims: f.core.Claims(), Site: f.core.Site(), Patches: f.s.kept(), Link: f.core.Link(), Received: f.told,
	})
}

// step lets the core take an event and reports whether neighbours should hear of what came of it.
func (f *fetch) step(ctx context.Context, event any) (news bool) {
	for _, effect := range f.core.Step(event, time.Now()) {
		news = f.act(ctx, effect) || news
	}
	return news
}

// act does what the core decided and reports whether neighbours should hear of it.
func (f *fetch) act(ctx context.Context, effect any) (news bool) {
	switch e := effect.(type) {
	case swarm.Announce:
		return true
	case swarm.Drop:
		if e.Kind != "" {
			f.m.offended(e.Peer, Kind(e.Kind))
		}
		f.work.Go(func() error { return f.tell(ctx, swarm.Banned{Device: e.Peer}) })
	case swarm.Accuse:
		f.m.offended(e.Peer, Kind(e.Kind))
	case swarm.Verify:
		f.work.Go(func() error { return f.verify(ctx, e.Peer) })
	case swarm.FromPeer:
		at := f.at[e.Peer]
		f.work.Go(func() error { return f.fromPeer(ctx, e.Peer, at, e.Chunk) })
	case swarm.PatchFromPeer:
		at := f.at[e.Peer]
		f.work.Go(func() error { return f.patchFromPeer(ctx, e, at) })
	case swarm.FromOrigin:
		f.work.Go(func() error { return f.fromOrigin(ctx, e) })
	}
	return false
}

// hear passes on what a neighbour says of others, and returns what the core is to know: of those in sight that do not speak for
// themselves.
func (f *fetch) hear(ctx context.Context, words []swarm.Word) (heard swarm.PeersHeard) {
	news := f.board.Hear(words, nil)
	if len(news) == 0 {
		return nil
	}
	in := f.m.addresses()
	var known swarm.Known
	for _, w := range news {
		if _, sight := in[w.Device]; !sight {
			continue
		}
		known.Devices = append(known.Devices, w.Device)
		if !f.followed[w.Device] {
			heard = append(heard, swarm.PeerHeard{Peer: w.Device, Claims: w.Claims, Pack: f.packs.get(w.Pack), Link: w.Link, Received: w.Received})
		}
	}
	if len(known.Devices) > 0 {
		select { // they ask again by themselves if this is full
		case f.links <- known:
		default:
		}
	}
	return heard
}

// tell lets the links know.
func (f *fetch) tell(ctx context.Context, event any) error {
	select {
	case f.links <- event:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fetch) say(ctx context.Context, event any) error {
	select {
	case f.events <- event:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func held(chunks []firmware.Chunk, source firmware.Source) swarm.Set {
	s := swarm.NewSet(len(chunks))
	for i, c := range chunks {
		if source.Has(c.ID) {
			s.Add(i)
		}
	}
	return s
}
