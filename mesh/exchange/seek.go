package exchange

import (
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Interest is what a device that lacks an object says of it.
type Interest string

// Interests of a device in an object that it lacks.
const (
	None     Interest = ""         // it has nothing to do with it
	Seeking  Interest = "seeking"  // it asks its neighbours
	Fetching Interest = "fetching" // it asks the origin; come back soon
)

// interestHeader carries an Interest beside a 503: another status than 404 says that it is worth to come back.
const interestHeader = "Waxwing-Interest"

type interest struct {
	Interest
	until time.Time
}

// Say lets neighbours know of this device's interest in an object, until it has it, says otherwise, or a time is over.
func (s *Server) Say(object firmware.Digest, i Interest, most time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for sum, old := range s.interests {
		if now.After(old.until) {
			delete(s.interests, sum)
		}
	}
	delete(s.interests, object)
	if i != None {
		s.interests[object] = interest{i, now.Add(most)}
	}
}

// Interest returns what neighbours are told.
func (s *Server) Interest(object firmware.Digest) Interest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.interests[object]; time.Now().Before(i.until) {
		return i.Interest
	}
	return None
}
