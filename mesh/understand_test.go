package mesh

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

func TestUnderstand(t *testing.T) {
	var pack swarm.Pack
	for i, c := range []struct {
		state string
		pack  string // understood
		bad   bool
	}{
		{state: `{"have":"AAA="}`},            // says nothing of packs, like an older device
		{state: `{"have":"AAA=","pack":"p"}`}, // what it covers is not known yet
		{state: `{"have":"AAA=","pack":"p","covers":"AQA="}`, pack: "p"},
		{state: `{"have":"AAA=","pack":"p"}`, pack: "p"}, // and is kept
		{state: `{"have":"AAA=","pack":"q"}`},            // another
		{state: `{"have":"AAA=","pack":"q","covers":"AQ=="}`, bad: true},
		{state: `{"have":"AA==","pack":"q"}`, bad: true},
		{state: `{"have":"AAA=","fetching":[3]}`, bad: true},
		{state: `{"have":"AAA=","fetching":[9,4]}`, bad: true},
		{state: `{"have":"AAA=","fetching":[9,3]}`},
	} {
		var s exchange.State
		if err := json.Unmarshal([]byte(c.state), &s); err != nil {
			t.Fatal(err)
		}
		e, err := understand(s, 12, &pack)
		if (err != nil) != c.bad || err == nil && e.Pack.ID != c.pack {
			t.Errorf("%d: pack %q, %v", i, e.Pack.ID, err)
		}
	}
}

func FuzzUnderstand(f *testing.F) {
	f.Add([]byte(`{"have":"AAA=","pack":"p","covers":"AQA=","fetching":[1,2]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s exchange.State
		if json.Unmarshal(b, &s) != nil {
			return
		}
		var pack swarm.Pack
		e, err := understand(s, 12, &pack)
		if err != nil {
			return
		}
		core := swarm.New(swarm.Options{Self: "a", Chunks: 12, Groups: [][]int{{1, 2, 3}}})
		e.Peer = "b"
		core.Step(e, time.Unix(1, 0))
		core.Step(swarm.Began{}, time.Unix(1, 0))
		if e.Claims.Count() > 12 || e.Have.Count() > 12 || e.Pack.Chunks.Count() > 12 {
			t.Fatalf("%+v", e)
		}
	})
}
