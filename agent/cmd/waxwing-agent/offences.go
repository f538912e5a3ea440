package main

import (
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/mesh"
)

// Watch implements agent.Witness.
func (n neighbors) Watch(offended func(string, protocol.OffenceKind)) {
	n.Mesh.Watch(func(o mesh.Offence) { offended(o.Neighbor, protocol.OffenceKind(o.Kind)) })
}

var _ agent.Witness = neighbors{}

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
