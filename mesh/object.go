package mesh

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
)

const (
	maxAsked  = 64                     // neighbours that are asked for an object
	askBefore = 2                      // at once, of those before this device
	askAfter  = 4                      // and of the others
	askAgain  = 200 * time.Millisecond // who is about to have it

	objectPatience = 4 * time.Second // for somebody who says that it fetches the object

	objectQuiet  = 700 * time.Millisecond // without an answer of anybody
	objectQuiets = 2                      // in a row or not, until no more are asked
	silenceLasts = time.Minute
)

// Object asks neighbours for small content with a digest, such as an index. The error matches firmware.ErrNotFound when
// none of them has it. What comes is verified.
//
// Devices that need the same content at the same moment let one of them fetch it: the first by rendezvous hash of (content,
// device), unless another has begun already. The others wait for it here, but not for long. So whoever is told
// ErrNotFound is expected to fetch it now, and to have it in Options.Objects then.
func (m *Mesh) Object(ctx context.Context, sum firmware.Digest, limit int64) ([]byte, error) {
	if m.o.Off {
		return nil, fmt.Errorf("object %s: there are no neighbours: %w", sum, firmware.ErrNotFound)
	}
	most := 2 * m.o.Stall
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	m.server.Say(sum, exchange.Seeking, most)
	fetching := map[string]time.Time{} // those who say that they do, since when
	ask := m.ranked(sum)
	for {
		b, ahead, vain, err := m.askOn(ctx, sum, limit, ask)
		for _, n := range ahead {
			if _, known := fetching[n.ID]; n.fetches && !known {
				fetching[n.ID] = time.Now()
			}
		}
		switch {
		case b != nil:
			m.server.Say(sum, exchange.None, most)
			return b, nil
		case len(ahead) == 0 || ctx.Err() != nil:
			m.server.Say(sum, exchange.Fetching, most)
			return nil, fmt.Errorf("object %s: no neighbour has it: %w", sum, errors.Join(firmware.ErrNotFound, err))
		}
		ask = slices.DeleteFunc(ask, func(n candidate) bool { // what it says may not come true
			at, says := fetching[n.ID]
			return vain[n.ID] || says && time.Since(at) > objectPatience
		})
		again := time.NewTimer(askAgain)
		select {
		case <-ctx.Done():
		case <-again.C:
		}
		again.Stop()
	}
}

// candidate is a neighbour that is asked for an object.
type candidate struct {
	Neighbor
	before  bool // it comes before this device when both need it
	fetches bool // it says so
}

// ranked returns neighbours in the order in which they would fetch an object.
func (m *Mesh) ranked(sum firmware.Digest) []candidate {
	weight := func(device string) []byte {
		h := sha256.Sum256(append(sum[:len(sum):len(sum)], device...))
		return h[:]
	}
	mine := weight(m.o.Device)
	var out []candidate
	for _, n := range m.Neighbors() {
		if m.silent.lately(n.ID) {
			continue
		}
		out = append(out, candidate{Neighbor: n, before: bytes.Compare(weight(n.ID), mine) > 0})
	}
	slices.SortFunc(out, func(a, b candidate) int { return bytes.Compare(weight(b.ID), weight(a.ID)) })
	return out[:min(len(out), maxAsked)]
}

// answer is what came of asking a neighbour for an object.
type answer struct {
	candidate
	b   []byte
	err error
}

// askOn asks neighbours in their order until one has the object, or will have it before this device: then it does not matter
// what those after it say. A few are asked at once. vain are those who need not be asked again, and err is why. Who is silent
// while others answer is not waited for, nor asked again soon.
func (m *Mesh) askOn(ctx context.Context, sum firmware.Digest, limit int64, ask []candidate) (b []byte, ahead []candidate, vain map[string]bool, err error) {
	ctx, enough := context.WithCancel(ctx)
	answers := make(chan answer, len(ask))
	var asked sync.WaitGroup
	defer asked.Wait()
	defer enough()
	silent := map[string]bool{}
	next := func() {
		for len(ask) > 0 && len(ahead) == 0 && (len(silent) < askBefore || !ask[0].before && len(silent) < askAfter) {
			n := ask[0]
			ask, silent[n.ID] = ask[1:], true
			asked.Go(func() {
				b, err := m.client.Object(ctx, n.Addr, sum, limit)
				m.gaveObject(n.ID, err)
				answers <- answer{n, b, err}
			})
		}
	}
	vain = map[string]bool{}
	quiets, quiet := 0, time.NewTimer(objectQuiet)
	defer quiet.Stop()
	for next(); len(silent) > 0; next() {
		select {
		case a := <-answers:
			delete(silent, a.ID)
			quiet.Reset(objectQuiet)
			var is *exchange.InterestError
			switch {
			case a.err == nil:
				return a.b, nil, nil, nil
			case errors.As(a.err, &is) && (a.before || is.Interest == exchange.Fetching):
				a.fetches = is.Interest == exchange.Fetching
				ahead = append(ahead, a.candidate)
			default:
				vain[a.ID] = true
			}
			err = errors.Join(err, a.err)
		case <-quiet.C:
			for id := range silent {
				m.silent.note(id)
				vain[id] = true
			}
			err = errors.Join(err, fmt.Errorf("%d neighbours are silent", len(silent)))
			if quiets++; quiets == objectQuiets {
				return nil, ahead, vain, err
			}
			clear(silent)
			quiet.Reset(objectQuiet)
		case <-ctx.Done():
			return nil, ahead, vain, ctx.Err()
		}
	}
	return nil, ahead, vain, err
}

// silences are neighbours that did not answer lately.
type silences struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (s *silences) note(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil || len(s.at) >= maxAsked {
		s.at = map[string]time.Time{}
	}
	s.at[id] = time.Now()
}

func (s *silences) lately(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[id]
	return ok && time.Since(at) < silenceLasts
}
