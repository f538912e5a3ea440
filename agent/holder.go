package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/agent/origin"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

const (
	knownFor    = 15 * time.Second // whether a holder answers
	isolatedFor = 5 * time.Minute  // that it did not, for the server's leases
	toldFor     = time.Hour        // and in reports
	enough      = 4                // that did not, and none that did: the device takes no part for a while
	holderFor   = 10 * time.Minute // since it was last named, it is greeted
	mostHolders = 64               // that are remembered
	mostAsks    = 2 * enough       // for one thing
	mostHeld    = 2 * time.Minute  // that something is left to others
	mostWaits   = 1024             // how much is remembered to be

	maxMissing = 4 << 10 // bytes of the file of those
)

// holder is a device that was said to hold something.
type holder struct {
	at      []netip.AddrPort
	named   time.Time
	asked   time.Time     // when it was last found out whether it answers; zero: not yet
	reached bool          // then
	asking  chan struct{} // closed when that is known; nil: nobody asks
}

// missing returns holders that did not answer. The lock is held.
func (s *site) missing(within time.Duration) (out []string) {
	now := s.now()
	for _, id := range slices.Sorted(maps.Keys(s.holders)) {
		if h := s.holders[id]; !h.asked.IsZero() && !h.reached && now.Sub(h.asked).Abs() < within && len(out) < protocol.MaxIsolated {
			out = append(out, id)
		}
	}
	return out
}

// leasing marks a context under which files are asked for that neighbours may hold.
type leasing struct{}

// leased is chunks that a swarm fetches: what another device of the site holds comes from there, and matches remote.ErrHeld.
type leased struct{ *remote.Remote }

// Fetch implements Origin.
func (l leased) Fetch(ctx context.Context, batch []firmware.Chunk, deliver func([]byte, firmware.ChunkID) error) (int64, error) {
	return l.Remote.Fetch(context.WithValue(ctx, leasing{}, true), batch, deliver)
}

// Fetch implements remote.Files.
func (s *site) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	return s.ask(ctx, path, func(f remote.Files) ([]byte, error) { return f.Fetch(ctx, path, limit) })
}

// Range implements remote.Files.
func (s *site) Range(ctx context.Context, path string, offset, n int64) ([]byte, error) {
	what := fmt.Sprintf("%s@%d", path, offset)
	return s.ask(ctx, what, func(f remote.Files) ([]byte, error) { return f.Range(ctx, path, offset, n) })
}

// ask asks the server. What it leaves to a holder that answers is left to it; a device that cannot reach the holder says so
// and is served. Whatever holders there are said to be, in the end the bytes come from the server.
func (s *site) ask(ctx context.Context, what string, get func(remote.Files) ([]byte, error)) ([]byte, error) {
	if marked, _ := ctx.Value(leasing{}).(bool); !marked || s.near == nil || s.waited(what) {
		return get(s.origin)
	}
	for range mostAsks {
		if s.cutOff() {
			break
		}
		b, err := get(s.origin.Leased(s.lease()))
		var held *origin.HeldError
		if !errors.As(err, &held) {
			s.served(what)
			return b, err
		}
		if s.reaches(ctx, held.Holder) {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return get(s.origin)
}

// cutOff reports whether holder after holder could not be reached: the server may take devices for a site that are none.
func (s *site) cutOff() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.holders {
		if h.reached && s.now().Sub(h.asked) < isolatedFor {
			return false
		}
	}
	return len(s.missing(isolatedFor)) >= enough
}

func (s *site) lease() origin.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return origin.Lease{Epoch: s.hint.Epoch, Isolated: s.missing(isolatedFor)}
}

// waited reports whether something was left to others for long enough.
func (s *site) waited(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, waits := s.waits[what]
	switch {
	case !waits && len(s.waits) >= mostWaits:
		clear(s.waits)
		fallthrough
	case !waits:
		s.waits[what] = s.now()
		return false
	}
	return s.now().Sub(since) > mostHeld
}

func (s *site) served(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waits, what)
}

// reaches finds out whether a holder answers, once for all that ask at the same moment, and introduces it.
func (s *site) reaches(ctx context.Context, named protocol.Holder) bool {
	links := prefixes()
	s.mu.Lock()
	h := s.remember(named.Device)
	at := slices.DeleteFunc(named.Addresses, func(a netip.AddrPort) bool { return !reachable(a, s.local, links) })
	fresh := !slices.Equal(h.at, at) || s.now().Sub(h.named) >= holderFor
	h.at, h.named = at, s.now()
	if !h.asked.IsZero() && !fresh && s.now().Sub(h.asked) < knownFor {
		defer s.mu.Unlock()
		return h.reached
	}
	if asking := h.asking; asking != nil {
		s.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return h.reached
	}
	h.asking = make(chan struct{})
	s.mu.Unlock()
	if fresh {
		s.introduce()
	}
	answers := s.near.Reaches(ctx, named.Device, at)
	s.mu.Lock()
	news := answers != h.reached || h.asked.IsZero() && !answers
	if ctx.Err() == nil || answers { // else nobody waited for the answer
		h.reached, h.asked = answers, s.now()
	}
	close(h.asking)
	h.asking = nil
	s.mu.Unlock()
	if news && ctx.Err() == nil {
		s.save()
		if !answers {
			s.log.Warn("a device of this site cannot be reached; what it holds comes from the server", "holder", named.Device, "at", at)
		}
		s.changed()
	}
	return answers
}

// save keeps who did not answer. It need not survive a power cut.
func (s *site) save() {
	s.mu.Lock() // also while it is written, so that the newest is what stays
	defer s.mu.Unlock()
	missing := map[string]time.Time{}
	for _, id := range s.missing(toldFor) {
		missing[id] = s.holders[id].asked
	}
	b, err := json.Marshal(missing)
	if err == nil {
		err = os.WriteFile(s.file, b, 0o600)
	}
	if err != nil {
		s.log.Debug("who is out of reach is not kept", "error", err)
	}
}

func (s *site) load() {
	b, err := atomicfile.Read(s.file, maxMissing)
	if err != nil {
		return // there is none, ordinarily
	}
	var missing map[string]time.Time
	_ = json.Unmarshal(b, &missing) // what is damaged is not known any more
	for id, at := range missing {
		if firmware.CheckName("device", id) == nil && len(s.holders) < protocol.MaxIsolated {
			s.holders[id] = &holder{asked: at}
		}
	}
}

// remember returns what is known of a holder. The lock is held.
func (s *site) remember(device string) *holder {
	if h := s.holders[device]; h != nil {
		return h
	}
	for id, h := range s.holders {
		if len(s.holders) >= mostHolders && h.asking == nil {
			delete(s.holders, id)
		}
	}
	h := &holder{}
	s.holders[device] = h
	return h
}
