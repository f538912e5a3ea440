package protocol_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

func TestReportBoundsOffences(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	good := protocol.Offence{Neighbor: "d-2", Kind: protocol.OffenceWrongBytes, Count: 3, Last: at}
	with := func(change func(*protocol.Offence)) (*protocol.Report, error) {
		o := good
		change(&o)
		b, err := json.Marshal(protocol.Report{Schema: 1, Device: "d-1", Offences: []protocol.Offence{o}})
		if err != nil {
			t.Fatal(err)
		}
		return protocol.ParseReport(b)
	}
	for name, c := range map[string]struct {
		change func(*protocol.Offence)
		bad    bool
	}{
		"a device":            {change: func(*protocol.Offence) {}},
		"an address":          {change: func(o *protocol.Offence) { o.Neighbor, o.Kind = "10.0.0.7", protocol.OffenceFlood }},
		"an address of six":   {change: func(o *protocol.Offence) { o.Neighbor = "fe80::ff:fe00:1" }},
		"a kind to come":      {change: func(o *protocol.Offence) { o.Kind = "drips" }},
		"nobody":              {func(o *protocol.Offence) { o.Neighbor = "" }, true},
		"a path":              {func(o *protocol.Offence) { o.Neighbor = "../x" }, true},
		"what a screen shows": {func(o *protocol.Offence) { o.Neighbor = "d-\x1b[2J" }, true},
		"a zone":              {func(o *protocol.Offence) { o.Neighbor = "fe80::1%\x1b[2J" }, true},
		"a long name":         {func(o *protocol.Offence) { o.Neighbor = strings.Repeat("a", 1000) }, true},
		"no kind":             {func(o *protocol.Offence) { o.Kind = "" }, true},
		"a long kind":         {func(o *protocol.Offence) { o.Kind = protocol.OffenceKind(strings.Repeat("a", 33)) }, true},
		"a sentence":          {func(o *protocol.Offence) { o.Kind = "it is bad" }, true},
		"never":               {func(o *protocol.Offence) { o.Count = 0 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := with(c.change)
			if (err != nil) != c.bad {
				t.Fatalf("%v", err)
			}
			if err == nil && (len(r.Offences) != 1 || !r.Offences[0].Last.Equal(at)) {
				t.Errorf("%+v", r.Offences)
			}
		})
	}
	var many []protocol.Offence
	for i := range 40 {
		o := good
		o.Neighbor, o.Last = fmt.Sprint("d-", i), at.In(time.FixedZone("", 3600))
		many = append(many, o)
	}
	b, err := json.Marshal(protocol.Report{Schema: 1, Device: "d-1", Offences: many})
	if err != nil {
		t.Fatal(err)
	}
	r, err := protocol.ParseReport(b)
	if err != nil || len(r.Offences) != protocol.MaxOffences {
		t.Fatalf("%d offences, %v", len(r.Offences), err)
	}
	if d := cmp.Diff(good.Last, r.Offences[0].Last); d != "" || r.Offences[0].Last.Location() != time.UTC {
		t.Errorf("two reports of one moment differ: %s", d)
	}
}

// FuzzReport holds that what is read is bounded, whatever comes.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"schema":1,"device":"d-1","offences":[{"neighbor":"d-2","kind":"wrong-bytes","count":1,"last":"2026-01-02T03:04:05Z"}]}`))
	f.Add([]byte(`{"schema":1,"device":"d-1","offences":[{"neighbor":"fe80::1","kind":"flood","count":9007199254740993}],"mesh":{"site":"oslo"}}`))
	f.Add([]byte(`{"schema":1,"device":"d-1","isolated":["d-2"],"update":{"detail":"x"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := protocol.ParseReport(b)
		if err != nil {
			return
		}
		if len(r.Offences) > protocol.MaxOffences || len(r.Isolated) > protocol.MaxIsolated {
			t.Errorf("%+v", r)
		}
		for _, o := range r.Offences {
			if len(o.Neighbor) > 64 || len(o.Kind) > 32 || o.Check() != nil {
				t.Errorf("%+v", o)
			}
		}
	})
}
