package main

import (
	"fmt"
	"io"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// depotMemory is what Go may hold in a depot, which has the indexes of all that it keeps at hand.
const depotMemory = 128 << 20

// keeps says what a depot keeps, as lines of a table.
func keeps(w io.Writer, d *protocol.Depot) {
	fmt.Fprintf(w, "depot\t%d releases, %d of %d MiB\n", len(d.Releases), d.Bytes>>20, d.Space>>20)
	for _, k := range d.Releases {
		fmt.Fprintf(w, "\t%s %s\n", k.Product, k.Version)
	}
	if d.Trouble != "" {
		fmt.Fprintf(w, "trouble\t%s\n", d.Trouble)
	}
}
