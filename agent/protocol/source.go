package protocol

import (
	"fmt"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Bounds of sources.
const (
	MaxSources = 16 // in an Update
	maxWhy     = 32 // bytes
)

// Source is where a part of a payload came from over the network, and why from there.
type Source struct {
	Device string `json:"device,omitempty"` // the neighbour; empty: the server
	Why    string `json:"why,omitempty"`    // the server was asked: a code
	Chunks int64  `json:"chunks"`
	Bytes  int64  `json:"bytes"` // on the wire
}

// Why the server is asked for chunks, and not a neighbour. A device may say others.
const (
	WhyAlone      = "alone"        // no neighbours were in sight
	WhyOwnShare   = "own-share"    // it was this device's part of what the site fetches
	WhySteppedIn  = "stepped-in"   // the device whose part it was stood still
	WhyDidNotCome = "did-not-come" // a neighbour was said to have it, and it did not come
	WhyProbe      = "probe"        // to learn what the uplink gives
	WhyOthers     = "others"       // neighbours that are not named, together
)

func (u *Update) boundSources() error {
	u.Sources = u.Sources[:min(len(u.Sources), MaxSources)]
	for i := range u.Sources {
		s := &u.Sources[i]
		s.Chunks, s.Bytes = max(s.Chunks, 0), max(s.Bytes, 0)
		if len(s.Why) > maxWhy {
			return fmt.Errorf("a source's reason has %d characters", len(s.Why))
		}
		if s.Device == "" {
			continue
		}
		if err := firmware.CheckName("device", s.Device); err != nil {
			return err
		}
	}
	return nil
}
