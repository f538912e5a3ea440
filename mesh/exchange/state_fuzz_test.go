package exchange

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzState reads what json reads, within the limits.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"rev":7,"have":"AAE=","words":[{"device":"b","fetching":[4,1]}],"packs":[{"id":"q","covers":"AQE="}]}`))
	f.Add([]byte(`{"words":null,"packs":[]}`))
	f.Add([]byte(`{"words":{},"packs":[3]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseState(b)
		if len(got.Words) > maxWords || len(got.Packs) > maxPacks {
			t.Fatalf("%d words, %d packs", len(got.Words), len(got.Packs))
		}
		if err != nil {
			return
		}
		var again State
		if b, err = json.Marshal(got); err == nil {
			again, err = parseState(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		if b2, err := json.Marshal(again); err != nil || cmp.Diff(string(b), string(b2)) != "" {
			t.Errorf("%s became %s, %v", b, b2, err)
		}
	})
}
