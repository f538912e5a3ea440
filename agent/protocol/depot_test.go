package protocol_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

func TestReportBoundsDepots(t *testing.T) {
	parse := func(d *protocol.Depot) (*protocol.Depot, error) {
		t.Helper()
		b, err := json.Marshal(protocol.Report{Schema: 1, Device: "d-1", Mesh: &protocol.Mesh{Depot: d}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := protocol.ParseReport(b)
		if err != nil {
			return nil, err
		}
		return r.Mesh.Depot, nil
	}
	if d, err := parse(nil); d != nil || err != nil {
		t.Error(d, err)
	}
	many := &protocol.Depot{Bytes: -1, Space: -2, Trouble: strings.Repeat("x", 4000)}
	for range 40 {
		many.Releases = append(many.Releases, protocol.Kept{Product: "gw", Version: "1.0.0"})
	}
	d, err := parse(many)
	if err != nil || len(d.Releases) != protocol.MaxKept || d.Bytes != 0 || d.Space != 0 || len(d.Trouble) > 512 {
		t.Errorf("%+v, %v", d, err)
	}
	for _, bad := range []protocol.Kept{{Product: "../x", Version: "1"}, {Product: "gw", Version: "\x1b[2J"}, {}} {
		if _, err := parse(&protocol.Depot{Releases: []protocol.Kept{bad}}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
