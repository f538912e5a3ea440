package trust

import "time"

// Doubt says why a device's clock may be wrong.
type Doubt string

// The doubts there are.
const (
	ClockSure     Doubt = ""         // it goes with what was signed
	ClockUnproven Doubt = "unproven" // nothing was signed yet that it could be held against
	// ClockBehind: it stands before a signed time, as one without a battery does. Expiry is judged by that signed time, so
	// everything goes on; what ended since may still be taken, and counters, versions and sequences do not fall.
	ClockBehind Doubt = "behind"
	// ClockAhead: it stands far beyond every signed time. Either nothing was heard for so long, and the next signed document
	// dispels it; or it is wrong, everything looks expired and no install begins until it is set. The device keeps running, and
	// nothing of a wrong clock is remembered.
	ClockAhead Doubt = "ahead"
)

const (
	clockSlack = 24 * time.Hour       // that a clock may stand before a signed time without a doubt
	clockLead  = 400 * 24 * time.Hour // that it may stand beyond one
)

// Clock is what a device knows of the time.
type Clock struct {
	Device time.Time // what its own clock says
	Judged time.Time // what expiry is judged by: the later of it and the floor
	Floor  time.Time // the newest signed time, or the build's; zero: none is known
	Doubt  Doubt
}

// Clock returns what is known of the time now.
func (t *Trust) Clock() Clock {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clock()
}

func (t *Trust) clock() Clock {
	c := Clock{Device: t.o.Now().UTC(), Floor: later(t.rec.Floor, t.o.Built.UTC())}
	c.Judged = later(c.Device, c.Floor)
	switch {
	case c.Floor.IsZero():
		c.Doubt = ClockUnproven
	case c.Floor.Sub(c.Device) > clockSlack:
		c.Doubt = ClockBehind
	case c.Device.Sub(c.Floor) > clockLead:
		c.Doubt = ClockAhead
	}
	return c
}

// now is the time that expiry is judged by.
func (t *Trust) now() time.Time { return t.clock().Judged }

// heard moves the floor to a signed time. It is believed only while the release plane stands, whose end others have signed:
// whoever owns the policy key alone cannot push a device's time beyond that, where everything has expired.
func (r *record) heard(signed time.Time) {
	if signed.After(r.Floor) && signed.Before(r.Alive) {
		r.Floor = signed
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
