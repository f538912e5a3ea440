package discovery

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// tellTime gathers what is found together: a device that speaks over IPv4 and IPv6 is found once.
const tellTime = 30 * time.Millisecond

// heard is a message that came in on a link.
type heard struct {
	key  string // of the link
	from netip.Addr
	message
}

// voice is how to speak and listen on a link over one family.
type voice interface {
	send([]byte) error
	// listen delivers what concerns this device, and where it came from, until ctx ends and the voice is closed.
	listen(ctx context.Context, c *codec, deliver func(netip.Addr, message))
	drops() uint64 // packets that were not looked at, as there were too many
	close()
}

// room is all that one device knows and does. One goroutine owns it.
type room struct {
	o     Options
	name  string
	found Found
	open  func(context.Context, network, family) (voice, error)

	table   table
	links   map[string]*spoken
	failed  map[string]bool // that were complained of
	told    []netip.AddrPort
	tell    time.Time // when to look for something to tell; zero: nothing changes by itself
	ears    chan heard
	readers sync.WaitGroup
}

// spoken is a link and the means to speak on it.
type spoken struct {
	*link
	codec   *codec
	voices  [families]voice
	waiting time.Time // since when answers are waited for
	dropped uint64    // packets, until then
	stop    context.CancelFunc
}

func newRoom(o Options, name string, found Found) *room {
	if o.Loud == nil {
		o.Loud = func(netip.Addr) {}
	}
	return &room{
		o: o, name: name, found: found, links: map[string]*spoken{}, failed: map[string]bool{}, ears: make(chan heard),
		table: table{all: map[netip.AddrPort]*neighbor{}, judged: o.Judged != nil},
		open:  func(ctx context.Context, n network, f family) (voice, error) { return open(ctx, n, f, o.Loud) },
	}
}

func (r *room) run(ctx context.Context, changes <-chan map[string]network) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		r.act(now)
		next := r.tell
		for _, l := range r.links {
			next = sooner(next, l.next())
		}
		if !next.IsZero() {
			timer.Reset(max(0, next.Sub(now)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case links := <-changes:
			r.relink(ctx, time.Now(), links)
		case h := <-r.ears:
			r.hear(time.Now(), h)
		case at := <-r.o.Introduced:
			if at.Port() != 0 && at.Addr().IsValid() {
				r.table.introduce(time.Now(), at)
				r.changed(time.Now())
			}
		case v := <-r.o.Judged:
			if r.table.judge(time.Now(), v) {
				r.look(time.Now(), doubtTime)
			}
			r.changed(time.Now())
		case <-r.o.Look:
			r.look(time.Now(), apart)
		case <-timer.C:
		}
	}
}

// act does what is due.
func (r *room) act(now time.Time) {
	for _, l := range r.links {
		if !l.check.IsZero() && !now.Before(l.check) {
			l.check = time.Time{}
			if l.drops() == l.dropped && r.table.silence(l.Index, l.since, l.checking) {
				l.insist(now)
			}
			r.changed(now)
		}
		said := l.due(now, &r.table)
		l.watched()
		for _, u := range said {
			r.say(l, u)
		}
	}
	if r.tell.IsZero() || now.Before(r.tell) {
		return
	}
	if all := r.table.show(now); !slices.Equal(all, r.told) {
		r.told = all
		r.found(slices.Clone(all))
	}
	r.tell = r.table.next(now)
}

// changed has the caller told soon.
func (r *room) changed(now time.Time) { r.tell = sooner(r.tell, now.Add(tellTime)) }

func (r *room) look(now time.Time, within time.Duration) {
	for _, l := range r.links {
		l.look(now, within)
	}
}

// hear takes in a message.
func (r *room) hear(now time.Time, h heard) {
	l := r.links[h.key]
	if l == nil {
		return
	}
	p := place{l.Index, netip.AddrPortFrom(h.from, h.port)}
	switch {
	case h.instance == "":
		if h.asks {
			l.reply(now, familyOf(h.from))
		}
		if h.question && r.table.knows(l.Index, h.known) {
			l.heard(now, familyOf(h.from), len(h.known) == 0)
			l.watched()
		}
	case h.instance == r.name && h.bye: // somebody says so in this device's name
		l.reply(now, familyOf(h.from))
	case h.instance == r.name:
	case h.bye:
		r.table.leave(now, p, h.instance)
		r.changed(now)
	default:
		if r.table.hear(now, p, h.instance) {
			l.look(now, doubtTime) // is it still where it was?
		}
		r.changed(now)
	}
}

// say sends on a link. What cannot be sent now, as the address is not ready, will be said again.
func (r *room) say(l *spoken, u utterance) {
	var b []byte
	var err error
	switch u.what {
	case answer:
		b, err = l.codec.answer(false)
	case presence, search:
		b, err = l.codec.question(u.known)
	}
	for f, s := range l.voices {
		if u.over[f] && s != nil && err == nil {
			if err := s.send(b); err != nil {
				r.o.Log.Debug("nothing can be said on this interface now", "interface", l.Name, "err", err)
			}
		}
	}
}

// relink begins to speak on new links and ends on those that are gone.
func (r *room) relink(ctx context.Context, now time.Time, links map[string]network) {
	for key, l := range r.links {
		if _, still := links[key]; !still {
			l.close()
			delete(r.links, key)
		}
	}
	byIndex := map[int]network{}
	for key, n := range links {
		byIndex[n.Index] = n
		if r.links[key] != nil {
			continue
		}
		l, err := r.join(ctx, now, key, n)
		if err != nil {
			if !r.failed[key] {
				r.o.Log.Warn("no neighbours on this interface", "interface", n.Name, "err", err)
			}
			r.failed[key] = true
			continue
		}
		delete(r.failed, key)
		r.links[key] = l
	}
	maps.DeleteFunc(r.failed, func(key string, _ bool) bool { _, still := links[key]; return !still })
	r.table.relink(now, byIndex)
	r.changed(now)
}

// join begins to speak on a link. One family is enough.
func (r *room) join(ctx context.Context, now time.Time, key string, n network) (*spoken, error) {
	c, err := newCodec(r.name, r.o.Fleet, n, r.o.Port)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	l := &spoken{link: newLink(now, n), codec: c, stop: stop}
	var errs []error
	for f := range families {
		if !l.speaks[f] {
			continue
		}
		s, err := r.open(ctx, n, f)
		if err != nil {
			errs = append(errs, err)
			l.speaks[f] = false
			continue
		}
		l.voices[f] = s
		r.readers.Go(func() {
			s.listen(ctx, c, func(from netip.Addr, m message) {
				select {
				case r.ears <- heard{key, from, m}:
				case <-ctx.Done():
				}
			})
		})
	}
	if l.speaks == [families]bool{} {
		stop()
		return nil, errors.Join(errs...)
	}
	return l, nil
}

// watched notes how many packets were dropped when it begins to wait for answers.
func (l *spoken) watched() {
	if l.waiting != l.since {
		l.waiting, l.dropped = l.since, l.drops()
	}
}

func (l *spoken) drops() (n uint64) {
	for _, s := range l.voices {
		if s != nil {
			n += s.drops()
		}
	}
	return n
}

func (l *spoken) close() {
	l.stop()
	for _, s := range l.voices {
		if s != nil {
			s.close()
		}
	}
}

// close says goodbye and ends all readers.
func (r *room) close() {
	for _, l := range r.links {
		if b, err := l.codec.answer(true); err == nil {
			for _, s := range l.voices {
				if s != nil {
					_ = s.send(b) // who does not hear it will ask
				}
			}
		}
		l.close()
	}
	r.readers.Wait()
}
