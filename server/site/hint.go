package site

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

const (
	gatherFor = time.Second      // changes, before hints are made; longer when that takes long
	quietFor  = 15 * time.Second // after a message to a device
	awayFor   = 5 * time.Minute  // a device is told of, since it was online
	retryIn   = time.Second      // what could not be published
	inFlight  = 64               // messages that wait for their acknowledgement
)

// hint is what a device was told last.
type hint struct {
	document []byte
	at       time.Time
	sent     bool // to the broker
}

// Document returns the newest hint for a device, a protocol.Site, or nil.
func (s *Sites) Document(device string) json.RawMessage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if h := s.hints[device]; h != nil {
		return h.document
	}
	return nil
}

// publish makes hints and publishes them, round by round, so that two messages of one device never overtake each other. A
// round takes a twentieth of the time at most.
func (s *Sites) publish(ctx context.Context, to Publisher) error {
	next := time.NewTimer(gatherFor)
	defer next.Stop()
	pause := gatherFor
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.again:
			s.mu.Lock()
			for _, h := range s.hints {
				h.sent = false
			}
			s.mu.Unlock()
		case <-s.wake:
		case <-next.C:
		}
		gather := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			gather.Stop()
			return ctx.Err()
		case <-gather.C:
		}
		begin := time.Now()
		wait := s.round(ctx, to)
		pause = max(gatherFor, 20*time.Since(begin))
		if next.Stop(); wait > 0 {
			next.Reset(wait)
		}
	}
}

// round makes and publishes what is due now and returns when something else is due; 0: nothing.
func (s *Sites) round(ctx context.Context, to Publisher) (wait time.Duration) {
	s.mu.Lock()
	moved := s.moved
	s.moved = map[string]struct{}{}
	s.mu.Unlock()
	for id := range moved {
		s.look(ctx, []string{id})
	}
	wait = s.prepare()
	if left := s.send(ctx, to); left && (wait == 0 || wait > retryIn) {
		wait = retryIn
	}
	return wait
}

// prepare makes the hints of sites that changed. A site with a device that was told something a moment ago is looked at
// again later.
func (s *Sites) prepare() (wait time.Duration) {
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.dirty {
		later := s.prepareSite(id, now)
		if later == 0 {
			delete(s.dirty, id)
		} else if wait == 0 || later < wait {
			wait = later
		}
	}
	for device, h := range s.hints { // of those who left, or share no longer
		if m := s.members[device]; (m == nil || m.site == "" || !m.share) && len(h.document) > 0 {
			h.document, h.sent = nil, false
		}
	}
	return wait
}

func (s *Sites) prepareSite(id string, now time.Time) (later time.Duration) {
	if large := len(s.sites[id]) > maxDevices; large != s.large[id] {
		if s.large[id] = large; !large {
			delete(s.large, id)
		} else {
			s.o.Log.Warn("too many devices seem to be at one site, so none of them is introduced to another; if a load balancer "+
				"hides their addresses start the server with --sites label", "site", id, "devices", len(s.sites[id]))
		}
	}
	if s.large[id] {
		return 0
	}
	soon := func(d time.Duration) {
		if d > 0 && (later == 0 || d < later) {
			later = d
		}
	}
	var listed, stock []string
	for device, m := range s.sites[id] {
		yes, until := m.listed(now)
		if soon(until); yes {
			listed = append(listed, device)
		}
		if yes && m.depot {
			stock = append(stock, device)
		}
	}
	slices.Sort(stock)
	r := newRing(listed)
	for _, device := range listed {
		if !s.members[device].online {
			continue // it would not hear
		}
		b := s.documentFor(s.members[device], r, stock)
		h := s.hints[device]
		if h == nil {
			if len(listed) == 1 {
				continue // it is alone, and was never told of anybody
			}
			h = &hint{}
			s.hints[device] = h
		}
		if slices.Equal(h.document, b) {
			continue
		}
		if rest := h.at.Add(quietFor).Sub(now); rest > 0 {
			soon(rest)
			continue
		}
		h.document, h.at, h.sent = b, now, false
	}
	return later
}

// documentFor encodes the hint for a device. The same peers at the same addresses make the same document.
func (s *Sites) documentFor(m *member, r ring, stock []string) []byte {
	d := protocol.Site{Schema: 1, Device: m.device, Site: m.site, Peers: []protocol.Peer{}}
	epoch := sha256.New()
	for _, id := range r.choose(m.device, stock) {
		p := protocol.Peer{Device: id}
		for _, a := range s.members[id].usableBy(m) {
			p.Addresses = append(p.Addresses, a.String())
		}
		if len(p.Addresses) > 0 {
			d.Peers = append(d.Peers, p)
		}
	}
	_ = json.NewEncoder(epoch).Encode(d.Peers) // strings only, and a hash takes everything
	d.Epoch = hex.EncodeToString(epoch.Sum(nil)[:8])
	b, err := json.Marshal(d)
	if err != nil {
		s.o.Log.Error("a hint cannot be encoded", "device", m.device, "error", err)
	}
	return b
}

// send publishes the hints that the broker does not have yet and reports whether some are left over.
func (s *Sites) send(ctx context.Context, to Publisher) (left bool) {
	type message struct {
		device   string
		document []byte
	}
	var all []message
	s.mu.RLock()
	for device, h := range s.hints {
		if !h.sent {
			all = append(all, message{device, h.document})
		}
	}
	s.mu.RUnlock()
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(inFlight)
	for _, m := range all {
		g.Go(func() error {
			err := to.Publish(ctx, protocol.SiteTopic(m.device), m.document)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				left = true
				s.o.Log.Debug("a hint could not be published; trying again", "device", m.device, "error", err)
				return nil
			}
			s.sent(m.device, m.document)
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	return left
}

// sent notes that the broker has a hint. One that was removed is forgotten.
func (s *Sites) sent(device string, document []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hints[device]
	if h == nil || !slices.Equal(h.document, document) {
		return
	}
	if h.sent = true; len(document) == 0 {
		delete(s.hints, device)
	}
}
