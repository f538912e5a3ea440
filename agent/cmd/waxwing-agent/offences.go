package main

import (
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// accusation says in words what a neighbour did.
func accusation(x protocol.Offence) string {
	did, known := map[protocol.OffenceKind]string{
		protocol.OffenceWrongBytes: "gave wrong bytes",
		protocol.OffenceNoDeeds:    "did not give what it says it has",
		protocol.OffenceFlood:      "floods the LAN, or somebody in its name",
	}[x.Kind]
	if !known {
		did = string(x.Kind)
	}
	times := "once, at"
	if x.Count > 1 {
		times = fmt.Sprintf("%d times, last at", x.Count)
	}
	return fmt.Sprintf("%s %s, %s %s", x.Neighbor, did, times, x.Last.Local().Format(time.DateTime))
}
