package site

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How long leases count, and how many there are at most.
const (
	movingFor  = 15 * time.Second // since bytes last went out: what stands still longer is lost
	heldFor    = 5 * time.Minute  // since the last byte
	waitMoving = time.Minute      // that one device waits for another that is fetching
	waitHeld   = 15 * time.Second // that it waits for one that has it
	excusedFor = 5 * time.Minute  // of two devices that cannot reach each other

	maxLeases  = 1 << 15
	maxSite    = 1 << 12 // leases of one site
	maxHolds   = 4       // of one lease: the islands of a site
	maxWaiting = 64      // devices that wait for one hold
	maxExcused = 1 << 15
	given      = 2 // devices that cannot reach a holder, until it is taken for gone
	inVain     = 4 // waits of a device for a holder, until it is excused from all that it holds
)

// ErrHeld says that another device of the site holds what was asked for.
var ErrHeld = errors.New("another device of this site has it")

// HeldError is an ErrHeld with the holder.
type HeldError struct {
	Holder string
	After  time.Duration // when to ask again
}

// Error implements error.
func (e *HeldError) Error() string {
	return fmt.Sprintf("%v: %s; take it from there, or say that you cannot reach it", ErrHeld, e.Holder)
}

// Is implements what errors.Is asks.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// Request is what a device asks for: bytes of a file of the repository.
type Request struct {
	Path        string
	First, Last int64
	Isolated    []string // devices that it says it cannot reach
}

// key names bytes at a site.
type key struct {
	site string
	what [16]byte
}

func keyOf(site string, q Request) key {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d-%d %s", q.First, q.Last, q.Path))
	return key{site, [16]byte(sum[:16])}
}

// pair is a device and a holder that it cannot reach.
type pair struct{ device, holder string }

// leases is who fetches what. It is safe for concurrent use.
type leases struct {
	mu      sync.Mutex
	by      map[key]*list.Element // of *held
	order   *list.List            // those that were granted last at the back
	count   map[string]int        // site → leases
	era     map[string]uint64     // holder → how often it has lost all that it held
	excused map[pair]time.Time    // until when
	missed  map[string]map[string]time.Time
	waited  map[pair]int // in vain
}

// held is a lease: whoever of a site fetches some bytes or has them.
type held struct {
	key
	holds []*hold
}

// hold is one of them.
type hold struct {
	device  string
	era     uint64
	done    bool
	at      time.Time // when bytes last went out
	waiting map[string]time.Time
}

func newLeases() *leases {
	return &leases{
		by: map[key]*list.Element{}, order: list.New(), count: map[string]int{}, era: map[string]uint64{},
		excused: map[pair]time.Time{}, missed: map[string]map[string]time.Time{}, waited: map[pair]int{},
	}
}

// take grants a lease, or says who holds it: a device that is online, whose lease is fresh and which the asker may reach.
func (l *leases) take(site, device string, q Request, online func(string) bool, now time.Time) (*Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, holder := range q.Isolated {
		l.isolate(pair{device, holder}, now)
	}
	k := keyOf(site, q)
	e := l.by[k]
	if e == nil {
		e = l.add(k)
	}
	h := e.Value.(*held)
	kept := h.holds[:0]
	var refused *HeldError
	for _, o := range h.holds {
		if !l.fresh(o, now) || !online(o.device) {
			continue
		}
		if o.device == device { // it begins anew
			continue
		}
		kept = append(kept, o)
		if refused == nil && !l.excuses(pair{device, o.device}, now) && !l.patient(o, device, now) {
			refused = &HeldError{Holder: o.device, After: retry}
		}
	}
	clear(h.holds[len(kept):])
	h.holds = kept
	if refused != nil {
		return nil, refused
	}
	mine := &hold{device: device, era: l.era[device], at: now}
	if len(h.holds) == maxHolds {
		h.holds = append(h.holds[:0], h.holds[1:]...)
	}
	h.holds = append(h.holds, mine)
	l.order.MoveToBack(e)
	return &Lease{of: l, key: k, hold: mine}, nil
}

// retry is what a refused device is told to wait; it asks earlier when it has found out that it cannot reach the holder.
const retry = 5 * time.Second

// add makes a lease that nobody holds yet, and room for it.
func (l *leases) add(k key) *list.Element {
	if l.count[k.site] >= maxSite {
		for e := l.order.Front(); e != nil; e = e.Next() {
			if e.Value.(*held).site == k.site {
				l.remove(e)
				break
			}
		}
	}
	if l.order.Len() >= maxLeases {
		l.remove(l.order.Front())
	}
	e := l.order.PushBack(&held{key: k})
	l.by[k] = e
	l.count[k.site]++
	return e
}

func (l *leases) remove(e *list.Element) {
	h := l.order.Remove(e).(*held)
	delete(l.by, h.key)
	if l.count[h.site]--; l.count[h.site] == 0 {
		delete(l.count, h.site)
	}
}

func (l *leases) fresh(o *hold, now time.Time) bool {
	if o.era != l.era[o.device] {
		return false
	}
	if o.done {
		return now.Sub(o.at) < heldFor
	}
	return now.Sub(o.at) < movingFor
}

// patient reports whether a device has waited for another long enough. The bytes are then its own affair; all that the other
// one holds is only after several waits, as a LAN may be slow for a while.
func (l *leases) patient(o *hold, device string, now time.Time) bool {
	since, waits := o.waiting[device]
	if !waits {
		if len(o.waiting) >= maxWaiting {
			return true // too many to keep in mind: nobody is held up without end
		}
		if o.waiting == nil {
			o.waiting = map[string]time.Time{}
		}
		o.waiting[device] = now
		return false
	}
	most := waitMoving
	if o.done {
		most = waitHeld
	}
	if now.Sub(since) < most {
		return false
	}
	if len(l.waited) >= maxExcused {
		clear(l.waited)
	}
	p := pair{device, o.device}
	if l.waited[p]++; l.waited[p] >= inVain {
		delete(l.waited, p)
		l.excuse(p, now)
	}
	return true
}

func (l *leases) excuses(p pair, now time.Time) bool {
	until, ok := l.excused[p]
	return ok && now.Before(until)
}

func (l *leases) excuse(p pair, now time.Time) {
	if len(l.excused) >= maxExcused {
		for old, until := range l.excused {
			if !now.Before(until) {
				delete(l.excused, old)
			}
		}
		for old := range l.excused {
			if len(l.excused) < maxExcused {
				break
			}
			delete(l.excused, old)
		}
	}
	l.excused[p] = now.Add(excusedFor)
}

// isolate notes that a device cannot reach a holder.
func (l *leases) isolate(p pair, now time.Time) {
	l.excuse(p, now)
	m := l.missed[p.holder]
	if m == nil {
		if len(l.missed) >= maxExcused {
			clear(l.missed)
		}
		m = map[string]time.Time{}
		l.missed[p.holder] = m
	}
	for device, at := range m {
		if now.Sub(at) > excusedFor {
			delete(m, device)
		}
	}
	if m[p.device] = now; len(m) >= given {
		delete(l.missed, p.holder)
		l.era[p.holder]++
	}
}

// drop ends all that a device holds.
func (l *leases) drop(device string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.era[device]++
}

// Lease is one device's. Without one (nil) its methods do nothing.
type Lease struct {
	of  *leases
	key key
	*hold
}

// Moved says that bytes went out.
func (l *Lease) Moved(now time.Time) {
	if l == nil {
		return
	}
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.at = now
}

// End says that all bytes went out, or that no more will: then nothing is held.
func (l *Lease) End(complete bool, now time.Time) {
	if l == nil {
		return
	}
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if complete {
		// Those who waited while it was fetching have until now waited for something else.
		l.done, l.at, l.waiting = true, now, nil
		return
	}
	l.at = time.Time{}
}
