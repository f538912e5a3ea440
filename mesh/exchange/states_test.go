package exchange_test

import (
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/meshtest"
)

// TestBigStates takes states that are as long as they may be and would be far larger once they are read: they are refused, or
// what nobody honest says is left out.
func TestBigStates(t *testing.T) {
	fleet := meshtest.NewFleet(t)
	many := func(one string, n int) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	const room = 1<<20 - 200
	for name, c := range map[string]struct {
		state string
		words int
		bad   bool
	}{
		"null":              {state: `{"words":null,"packs":null}`},
		"no list":           {state: `{"words":{}}`, bad: true},
		"words without end": {state: `{"words":[` + many("{}", room/3) + `]}`, bad: true},
		"packs without end": {state: `{"packs":[` + many("{}", room/3) + `]}`, bad: true},
		"wrong words":       {state: `{"words":[3]}`, bad: true},
		"runs without end":  {state: `{"fetching":[` + many("1", room/2) + `]}`},
		"runs of another without end": {
			state: `{"words":[{"device":"a","fetching":[` + many("1", room/2) + `]},{"device":"b"}]}`, words: 1,
		},
		"a device with a long name": {state: `{"words":[{"device":"` + strings.Repeat("a", room) + `"},{"device":"b"}]}`, words: 1},
		"another's pack with a long name": {
			state: `{"words":[{"device":"a","pack":"` + strings.Repeat("a", room) + `"},{"device":"b"}]}`, words: 1,
		},
		"a pack with a long name":  {state: `{"packs":[{"id":"` + strings.Repeat("a", room) + `"}],"words":[{"device":"b"}]}`, words: 1},
		"depth":                    {state: `{"x":` + strings.Repeat("[", room), bad: true},
		"as many as there may be":  {state: `{"words":[` + many(`{"device":"abc","rev":1,"fetching":[1,2]}`, 256) + `]}`, words: 256},
		"as large as they may be":  {state: `{"words":[` + many(`{"fetching":[`+many("1", 2048)+`]}`, 100) + `]}`, words: 100},
		"more than there may be":   {state: `{"words":[` + many("{}", 257) + `]}`, bad: true},
		"more packs than are kept": {state: `{"packs":[` + many("{}", 17) + `]}`, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(c.state)
			crook := meshtest.NewCrook(t, exchange.TLS(always(fleet.Device(t, "crook")), fleet.Pool), func(c net.Conn, _ *http.Request) bool {
				return meshtest.Reply(c, http.StatusOK, body)
			})
			client := exchange.NewClient("us", exchange.TLS(always(fleet.Device(t, "us")), fleet.Pool))
			defer client.Close()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s, err := client.State(t.Context(), crook.At, firmware.Sum(nil), 0, exchange.Once)
			runtime.ReadMemStats(&after)
			if (err != nil) != c.bad || len(s.Words) != c.words || len(s.Packs) > 0 {
				t.Errorf("%d words, %d packs: %v", len(s.Words), len(s.Packs), err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 { // all of it, most is let go at once
				t.Errorf("%d bytes were allocated", took)
			}
		})
	}
}

// TestStateTravels holds that reading leaves nothing of an honest state out.
func TestStateTravels(t *testing.T) {
	fleet := meshtest.NewFleet(t)
	body := `{"rev":7,"chunks":9,"have":"AAE=","fetching":[1,2],"near":[3,1,2],"pack":"p","patches":[0,1],"received":5,
		"words":[{"device":"b","rev":3,"fetching":[4,1],"pack":"q","received":6}],"packs":[{"id":"q","covers":"AQE="}],"later":{}}`
	crook := meshtest.NewCrook(t, exchange.TLS(always(fleet.Device(t, "b")), fleet.Pool), func(c net.Conn, _ *http.Request) bool {
		return meshtest.Reply(c, http.StatusOK, []byte(body))
	})
	client := exchange.NewClient("us", exchange.TLS(always(fleet.Device(t, "us")), fleet.Pool))
	defer client.Close()
	got, err := client.State(t.Context(), crook.At, firmware.Sum(nil), 0, exchange.Once)
	if err != nil {
		t.Fatal(err)
	}
	want := exchange.State{
		Revision: 7, Chunks: 9, Have: []byte{0, 1}, Fetching: []int{1, 2}, Near: []int{3, 1, 2}, Pack: "p", Patches: []int{0, 1}, Received: 5,
		Words: []exchange.Word{{Device: "b", Revision: 3, Fetching: []int{4, 1}, Pack: "q", Received: 6}},
		Packs: []exchange.Pack{{ID: "q", Covers: []byte{1, 1}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
