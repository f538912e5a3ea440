package main

import (
	"fmt"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// cameFrom says where a part of an update came from, and why from there.
func cameFrom(s protocol.Source) string {
	switch {
	case s.Device != "":
		return fmt.Sprintf("%s: %d chunks in %d bytes", s.Device, s.Chunks, s.Bytes)
	case s.Why == protocol.WhyOthers:
		return fmt.Sprintf("other neighbours: %d chunks in %d bytes", s.Chunks, s.Bytes)
	}
	why, known := map[string]string{
		protocol.WhyAlone:      "no neighbour was in sight",
		protocol.WhyOwnShare:   "it was this device's part of what the site fetches",
		protocol.WhySteppedIn:  "the neighbour whose part it was stood still",
		protocol.WhyDidNotCome: "a neighbour was said to have it, and it did not come",
		protocol.WhyProbe:      "to learn what the uplink gives",
	}[s.Why]
	if !known {
		why = s.Why
	}
	return fmt.Sprintf("the server: %d chunks in %d bytes; %s", s.Chunks, s.Bytes, why)
}
