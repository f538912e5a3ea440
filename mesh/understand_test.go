package mesh

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

func listener() *fetch {
	groups := [][]int{{1, 2, 3}, {4, 5}}
	core := swarm.New(swarm.Options{Self: "a", Chunks: 12, Groups: groups})
	f := &fetch{
		s: Swarm{Groups: groups, Patched: new(remote.Remote).Patched}, chunks: make([]firmware.Chunk, 12), core: core, board: exchange.NewBoard("a", 12, core.Pack()),
	}
	f.packs.put(core.Pack())
	return f
}

func TestUnderstandPatches(t *testing.T) {
	f := listener()
	mine := f.core.Pack().ID
	for state, want := range map[string][]int{
		`{"have":"AAA=","patches":[0,2],"pack":"` + mine + `"}`: {0, 2},
		`{"have":"AAA=","patches":[0,2]}`:                       nil,
		`{"have":"AAA=","patches":[0,2],"pack":"other"}`:        nil,
		`{"have":"AAA=","pack":"` + mine + `"}`:                 nil,
	} {
		var s exchange.State
		if err := json.Unmarshal([]byte(state), &s); err != nil {
			t.Fatal(err)
		}
		if e, _, err := f.understand(s); err != nil || !slices.Equal(e.Patches.Runs(), want) {
			t.Errorf("%s: %v, %v", state, e.Patches.Runs(), err)
		}
	}
	if _, _, err := f.understand(exchange.State{Have: []byte{0, 0}, Pack: mine, Patches: []int{1, 2}}); err == nil {
		t.Error("patches of groups that there are not are understood")
	}
}

func TestUnderstand(t *testing.T) {
	f := listener()
	for i, c := range []struct {
		state string
		pack  string // understood
		words int
		bad   bool
	}{
		{state: `{"have":"AAA="}`},            // says nothing of packs, like an older device
		{state: `{"have":"AAA=","pack":"p"}`}, // what it covers is not known yet
		{state: `{"have":"AAA=","pack":"p","packs":[{"id":"p","covers":"AQA="}]}`, pack: "p"},
		{state: `{"have":"AAA=","pack":"p"}`, pack: "p"}, // and is kept
		{state: `{"have":"AAA=","pack":"q"}`},            // another
		{state: `{"have":"AAA=","pack":"q","packs":[{"id":"q","covers":"AQ=="}]}`, bad: true},
		{state: `{"have":"AA==","pack":"q"}`, bad: true},
		{state: `{"have":"AAA=","fetching":[3]}`, bad: true},
		{state: `{"have":"AAA=","fetching":[9,4]}`, bad: true},
		{state: `{"have":"AAA=","fetching":[9,3]}`},
		{state: `{"have":"AAA=","near":[9,3,1]}`},
		{state: `{"have":"AAA=","near":[9,3]}`, bad: true},
		{state: `{"have":"AAA=","near":[9,3,0]}`, bad: true},
		{state: `{"have":"AAA=","near":[9,3,99]}`, bad: true},
		{state: `{"have":"AAA=","words":[{"device":"b","rev":3,"fetching":[1,2]},{"device":"c","rev":1}]}`, words: 2},
		{state: `{"have":"AAA=","words":[{"device":"b","rev":3,"fetching":[1]}]}`, bad: true},
	} {
		var s exchange.State
		if err := json.Unmarshal([]byte(c.state), &s); err != nil {
			t.Fatal(err)
		}
		e, words, err := f.understand(s)
		if (err != nil) != c.bad || err == nil && (e.Pack.ID != c.pack || len(words) != c.words) {
			t.Errorf("%d: pack %q, %d words, %v", i, e.Pack.ID, len(words), err)
		}
	}
}

func FuzzUnderstand(f *testing.F) {
	f.Add([]byte(`{"have":"AAA=","pack":"p","packs":[{"id":"p","covers":"AQA="}],"fetching":[1,2],"near":[3,2,1]}`))
	f.Add([]byte(`{"have":"AAA=","words":[{"device":"b","rev":3,"fetching":[1,2],"pack":"p","received":7}]}`))
	f.Add([]byte(`{"have":"AAA=","pack":"` + listener().core.Pack().ID + `","patches":[1,1]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s exchange.State
		if json.Unmarshal(b, &s) != nil {
			return
		}
		l := listener()
		e, words, err := l.understand(s)
		if err != nil {
			return
		}
		core := l.core
		e.Peer = "b"
		now := time.Unix(1, 0)
		core.Step(e, now)
		var heard swarm.PeersHeard
		for _, w := range l.board.Hear(words, nil) {
			heard = append(heard, swarm.PeerHeard{Peer: w.Device, Claims: w.Claims, Pack: l.packs.get(w.Pack), Received: w.Received})
		}
		core.Step(heard, now)
		core.Step(swarm.Began{}, now)
		core.Wake(now)
		if e.Claims.Count() > 12 || e.Have.Count() > 12 || e.Pack.Chunks.Count() > 12 {
			t.Fatalf("%+v", e)
		}
	})
}
