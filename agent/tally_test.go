package agent

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// TestTally holds that nothing is lost, whatever is told and however often a device starts anew.
func TestTally(t *testing.T) {
	few := newTally(nil)
	few.came(Delivery{From: "b", Chunks: 1, Bytes: 10})
	few.came(Delivery{From: "a", Chunks: 2, Bytes: 500})
	few.came(Delivery{Why: protocol.WhyOwnShare, Chunks: 3, Bytes: 7})
	few.came(Delivery{From: "b", Chunks: 1, Bytes: 10})
	want := []protocol.Source{{Why: "own-share", Chunks: 3, Bytes: 7}, {Device: "a", Chunks: 2, Bytes: 500}, {Device: "b", Chunks: 2, Bytes: 20}}
	if diff := cmp.Diff(want, few.sources()); diff != "" || few.peers() != 520 {
		t.Errorf("%s; %d bytes of neighbours", diff, few.peers())
	}

	many := newTally(few.sources())
	for i := range 300 {
		many.came(Delivery{From: fmt.Sprintf("d-%d", i), Chunks: 1, Bytes: 100})
	}
	for range 2 {
		s := many.sources()
		var chunks, bytes int64
		for _, one := range s {
			chunks, bytes = chunks+one.Chunks, bytes+one.Bytes
		}
		if len(s) != protocol.MaxSources || chunks != 307 || bytes != 30527 || many.peers() != 30520 {
			t.Errorf("%d sources with %d chunks and %d bytes, %d of neighbours", len(s), chunks, bytes, many.peers())
		}
		b, err := json.Marshal(protocol.Report{Schema: 1, Device: "d", Update: &protocol.Update{Sources: s}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := protocol.ParseReport(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, r.Update.Sources); diff != "" {
			t.Error(diff)
		}
		many = newTally(s) // it starts anew
	}
}
