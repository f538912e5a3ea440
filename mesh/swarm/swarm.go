// Package swarm decides who fetches what from whom, so that a site's uplink carries each chunk once. It is pure:
// [Swarm.Step] and [Links.Step] take an event and the time and return effects.
//
// # Who fetches
//
// The distinct chunks of an index, numbered in order of first use, form units: the groups of the device's pack of patches,
// whose chunks come together, and blocks of [GroupSize] of the others, whose chunks come one by one. Every unit has one
// owner among the devices that lack some of it: the one with the highest rendezvous hash of (unit, device), in which wired
// devices have more chances than those on Wi-Fi, and those that pay for bytes or run on batteries have none beside others. All devices
// that see the same neighbours name the same owner without talking. The owner fetches from the origin; the others wait
// until somebody they follow has the chunks and take them from there.
//
//	one that I follow has it           → take it from the least busy of them: the patch of its group, if both have the base
//	the site has it, further away      → wait: it comes nearer, from device to device
//	I own it, hold-off is over         → claim it, fetch it from the origin
//	somebody claims or owns it         → wait; when nothing moves, ask it itself; then the next in rank steps in
//
// Devices of one site may run different releases and so have different packs, or none. Claims name chunks, so that
// everybody understands them whatever their own units are; and a chunk that one device gets by a patch and another whole
// is the first one's to fetch, since that is the cheaper way for the site. See [Pack].
//
// # Who hears of what
//
// A device follows three others ([Links]), so news passes on from device to device: what is near and how far ([Near]), and a
// [Word] of each device, which says what it claims and that it moves.
//
// # Whom to believe
//
// A chunk is verified by the caller before Got is said, so no neighbour can spoil anything; it can only make others wait.
// What a device says of itself lets it be waited for as long as fetches usually take here, and not much longer: claims
// without deeds end. What others say of it lets this device wait, but before it steps in, or gives way, it asks that device
// itself ([Verify]); from then on it believes nobody else about one of whom others have lied. Where nobody knows how long a
// fetch takes, one device tries with a single chunk. What the site is said to have and does not come is fetched in the end.
//
// The hold-off at the start gives neighbours that begin at the same moment time to see each other; it is longer while they
// still turn up. Views may differ for a while: the cost is a chunk fetched twice, never a wrong one.
package swarm

import (
	"cmp"
	"time"
)

// GroupSize is how many consecutive chunks without a patch have one owner: about a megabyte.
const GroupSize = 16

// Limits of one device.
const (
	maxFromPeer   = 2           // chunks in flight from one neighbour: one comes while another is asked for
	maxFromPeers  = 8           // chunks in flight from all neighbours
	maxFromOrigin = 4           // single chunks in flight from the origin to one device
	uplinkLoad    = 16          // and to all, about: more only wait in line, and how long they do is how late a death is noticed
	patchLoad     = 2           // single chunks that a group's patch stands for: one comes while another is decoded
	hedge         = time.Second // that a neighbour takes for a chunk, until another one is asked too; each of what a patch stands for
	maxStrikes    = 3           // failures in a row after which a neighbour is dropped; one wrong chunk is enough
	probeParts    = 4           // of a unit are fetched in the time of one chunk by itself, or come as patches in it
	longestWord   = 12          // times Stall: how long claims count while nobody knows how long a fetch takes
)

// Pauses after the origin has failed, doubled from the first to the longest until it gives something again.
const (
	firstPause   = time.Second
	longestPause = 15 * time.Second
)

// Options configure New.
type Options struct {
	ID      string        // of the swarm: another payload, other owners
	Self    string        // this device
	Link    Link          // of it
	Chunks  int           // distinct chunks of the index
	Have    []int         // those that this device has, or gets without the swarm
	Groups  [][]int       // chunks that come together, by patches: disjoint, each ascending
	HoldOff time.Duration // before the first fetch from the origin; up to twice that while neighbours turn up
	Stall   time.Duration // without progress, until a neighbour's units go to the next in rank
}

// Swarm is what one device knows of the trade in the chunks of one index.
type Swarm struct {
	belief
	pace
	o       Options
	units   []unit
	unitOf  []int // chunk → unit
	pack    Pack
	began   time.Time
	have    Set
	lacking int
	flying  map[int]*request // chunk → what it is on its way by
	load    int              // of the requests to the origin
	taking  int              // and of those to neighbours
	claimed Set              // what this device fetches from the origin
	peers   map[string]*peer
	holders []uint16          // chunk → how many neighbours have it
	link    Link              // of this device, now
	weights []uint64          // unit → weight of this device
	failed  map[int]time.Time // chunk → when the origin failed to give it, or the last that had it went
	doubts  map[string]bool   // neighbours to be asked themselves
	pause   time.Time         // the origin is not asked before
	backoff time.Duration     // how long the last pause was; 0: the origin is well
	joined  time.Time         // when a neighbour last turned up
}

// Why is the reason why a device asks the origin and not a neighbour. It is a stable code.
type Why string

// The reasons there are.
const (
	Alone      Why = "alone"        // it sees no neighbours in the swarm
	OwnShare   Why = "own-share"    // it is the first in rank of those who lack the chunk: its part of the site's copy
	SteppedIn  Why = "stepped-in"   // who should have fetched it stood still
	DidNotCome Why = "did-not-come" // the site was said to have it
	Probe      Why = "probe"        // to learn what the uplink gives
)

// origin is who has everything.
const origin = ""

// Events.
type (
	Began    struct{}
	PeerSeen struct { // a neighbour in this swarm said where it stands
		Peer     string
		Have     Set
		Claims   Set  // chunks
		Site     Near // what others beyond it have, as far as it knows
		Pack     Pack // zero: none
		Patches  Set  // groups of it whose patches it can pass on
		Link     Link
		Received int64 // bytes from the origin so far
		Once     bool  // it answers Verify, and is not followed
	}
	PeersHeard []PeerHeard // what others say of devices that this one does not follow
	PeerHeard  struct {
		Peer     string
		Claims   Set
		Pack     Pack // zero: none, or not known
		Link     Link
		Received int64
	}
	PeerLeft struct{ Peer string } // this device does not follow it any more
	PeerGone struct{ Peer string } // it does not answer
	Got      struct{ Chunk int }   // verified and in place, from wherever it was asked
	Lost     struct {              // a fetch failed
		Chunk  int
		From   string // the neighbour that was asked; empty: the origin
		Patch  bool   // for its patch
		Wrong  bool   // the bytes were wrong: whoever gave them lies, or, of a patch, the bases differ
		Absent bool   // it says that it does not have the chunk now
		Slow   bool   // it did not answer in time, for which all who wait with this device pay
		Gone   bool   // nobody listens there now
		Held   bool   // the origin says that another device of the site has it, or fetches it
	}
	Restrained struct{ To Link } // this device is Limited or Silent from now on; empty: as it was made
	Ticked     struct{}
)

// Effects.
type (
	FromPeer struct {
		Peer  string
		Chunk int
	}
	// PatchFromPeer asks a neighbour with the same pack for the patch of a group; each chunk is answered with Got or Lost.
	PatchFromPeer struct {
		Peer   string
		Group  int // its place in Options.Groups
		Chunks []int
	}
	// FromOrigin asks for chunks in one request: one chunk, or what this device needs of one group of its pack. Each is
	// answered with Got or Lost; when some come and others do not, what came counts.
	FromOrigin struct {
		Chunks []int
		Why    Why
	}
	Announce struct{} // what this device has or claims changed: let neighbours know
	// Drop says that nothing more is asked of a neighbour, and why; nobody is to blame when it just is not there any more.
	Drop struct {
		Peer string
		Kind Offence // empty: none
	}
	// Accuse tells of a neighbour that is not dropped, once.
	Accuse struct {
		Peer string
		Kind Offence
	}
	// Verify asks a neighbour anew where it stands, as much depends on it: the answer is PeerSeen or PeerGone.
	Verify struct{ Peer string }
)

// Offence is the stable code of what a neighbour did.
type Offence string

// The offences for which a neighbour is dropped.
const (
	WrongBytes Offence = "wrong-bytes" // it gave bytes that are not the chunk
	NoDeeds    Offence = "no-deeds"    // it fails, again and again, to give what it says it has
)

// New returns a swarm that has not begun.
func New(o Options) *Swarm {
	s := &Swarm{
		o: o, have: NewSet(o.Chunks), lacking: o.Chunks, flying: map[int]*request{},
		claimed: NewSet(o.Chunks), peers: map[string]*peer{}, holders: make([]uint16, o.Chunks), failed: map[int]time.Time{},
		unitOf: make([]int, o.Chunks), doubts: map[string]bool{},
		belief: belief{near: make(Near, o.Chunks), rumour: map[int]time.Time{}, doubted: map[int]time.Time{}},
	}
	s.units, s.pack = cut(o.Chunks, o.Groups)
	for i := range s.units {
		u := &s.units[i]
		u.lacking = len(u.chunks)
		for _, c := range u.chunks {
			s.unitOf[c] = i
		}
	}
	s.link, s.weights = o.Link, s.weigh(o.Self, o.Link)
	for _, c := range o.Have {
		s.gain(c)
	}
	return s
}

// Done reports whether nothing is lacking.
func (s *Swarm) Done() bool { return s.lacking == 0 }

// Have returns the chunks at hand; the set is not to be changed.
func (s *Swarm) Have() Set { return s.have }

// Shows returns the chunks that neighbours are to know of: those at hand, but for groups that are still being decoded. Who is
// told of a part would take it chunk by chunk and not as a patch.
func (s *Swarm) Shows() Set {
	out := s.have.Clone()
	for _, r := range s.flying {
		for _, c := range r.came {
			out.Remove(c)
		}
	}
	return out
}

// Claims returns the chunks that this device fetches from the origin; the set is not to be changed.
func (s *Swarm) Claims() Set { return s.claimed }

// Link returns what neighbours are to know of this device's link; it changes when it is restrained.
func (s *Swarm) Link() Link { return s.link }

// Pack returns how this device gets chunks by patches, for neighbours to know; it does not change.
func (s *Swarm) Pack() Pack { return s.pack }

// restrain takes this device out of those who fetch for the site, or puts it back.
func (s *Swarm) restrain(to Link) []any {
	link := cmp.Or(to, s.o.Link)
	if link == s.link {
		return nil
	}
	s.link, s.weights = link, s.weigh(s.o.Self, link)
	if to != "" {
		for c := range s.o.Chunks {
			if r := s.flying[c]; r == nil || r.from != origin {
				s.claimed.Remove(c)
			}
		}
	}
	return []any{Announce{}}
}

// Step applies an event.
func (s *Swarm) Step(event any, now time.Time) []any {
	var out []any
	switch e := event.(type) {
	case Began:
		s.began = now
	case PeerSeen:
		s.seen(e, now)
	case PeersHeard:
		for _, one := range e {
			s.hear(one, now)
		}
	case PeerLeft:
		s.leave(e.Peer, now)
	case PeerGone:
		s.forget(e.Peer, now)
	case Got:
		out = s.got(e.Chunk, now)
	case Lost:
		out = s.lost(e, now)
	case Restrained:
		out = s.restrain(e.To)
	}
	out = append(out, s.schedule(now)...)
	if s.shifted { // pass on also what is not true any more
		s.shifted = false
		out = append(out, Announce{})
	}
	return out
}

// gain notes that a chunk is at hand and reports whether that is new.
func (s *Swarm) gain(c int) bool {
	if s.have.Has(c) {
		return false
	}
	s.have.Add(c)
	s.claimed.Remove(c)
	delete(s.rumour, c)
	s.near[c] = 0
	delete(s.doubted, c)
	s.units[s.unitOf[c]].lacking--
	s.lacking--
	return true
}
