package tuf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"

	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

// TestThresholds holds that a key counts once, whatever it is called (security case 07), that none is no threshold
// (security case 08), that keys of other kinds and lengths are none (security case 18), and that another major version of the
// specification is not read (security case 19).
func TestThresholds(t *testing.T) {
	w := newWorld(t)
	root := w.root.Signed
	with := func(change func(map[string]any)) []byte {
		b, err := json.Marshal(root)
		w.must(err)
		var doc map[string]any
		w.must(json.Unmarshal(b, &doc))
		change(doc)
		canonical, err := cjson.EncodeCanonical(doc)
		w.must(err)
		var sigs []map[string]string
		for id := range doc["keys"].(map[string]any) {
			sig, err := w.keys["root"].SignMessage(strings.NewReader(string(canonical)))
			w.must(err)
			sigs = append(sigs, map[string]string{"keyid": id, "sig": fmt.Sprintf("%x", sig)})
		}
		out, err := json.Marshal(map[string]any{"signed": doc, "signatures": sigs})
		w.must(err)
		return out
	}
	rootRole := func(doc map[string]any) map[string]any { return doc["roles"].(map[string]any)["root"].(map[string]any) }
	for name, c := range map[string]struct {
		change func(map[string]any)
		good   bool
	}{
		"as it is":      {func(map[string]any) {}, true},
		"zero":          {func(d map[string]any) { rootRole(d)["threshold"] = 0 }, false},
		"negative":      {func(d map[string]any) { rootRole(d)["threshold"] = -1 }, false},
		"two with one":  {func(d map[string]any) { rootRole(d)["threshold"] = 2 }, false},
		"no keys":       {func(d map[string]any) { rootRole(d)["keyids"] = []string{} }, false},
		"unlisted key":  {func(d map[string]any) { rootRole(d)["keyids"] = []string{"nobody"} }, false},
		"another major": {func(d map[string]any) { d["spec_version"] = "2.0.0" }, false},
		"no version":    {func(d map[string]any) { d["version"] = 0 }, false},
		"one key, two names": {func(d map[string]any) {
			keys := d["keys"].(map[string]any)
			id := rootRole(d)["keyids"].([]any)[0].(string)
			keys["again"] = keys[id]
			rootRole(d)["keyids"], rootRole(d)["threshold"] = []string{id, "again"}, 2
		}, false},
		"a short key": {func(d map[string]any) {
			keys := d["keys"].(map[string]any)
			id := rootRole(d)["keyids"].([]any)[0].(string)
			keys[id].(map[string]any)["keyval"] = map[string]any{"public": "abcdef"}
		}, false},
		"a key of another kind": {func(d map[string]any) {
			keys := d["keys"].(map[string]any)
			id := rootRole(d)["keyids"].([]any)[0].(string)
			keys[id].(map[string]any)["keytype"] = "rsa"
		}, false},
	} {
		_, err := tuf.Start(with(c.change), now)
		if (err == nil) != c.good || err != nil && !errors.Is(err, tuf.ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBombs puts null, another kind, a huge number, deep nesting and a second copy in the place of every field of every
// document (security case 17): at most as much is believed as without them, and nothing panics. The signatures do not fit any
// more, so what is held here is that parsing comes to an end; signing/document holds what it refuses by itself.
func TestBombs(t *testing.T) {
	w := newWorld(t)
	for i, at := range []int{0, 3, 5, 6, 7} {
		whole := w.walk()[at]
		for _, field := range regexp.MustCompile(`"(\w+)": `).FindAllSubmatchIndex(whole, -1) {
			var old json.RawMessage
			w.must(json.NewDecoder(bytes.NewReader(whole[field[1]:])).Decode(&old))
			for _, instead := range []string{
				"null", "[]", "1e999", "9223372036854775808", "-1", "NaN", "\"\xff\"", strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
				string(old) + `, "` + string(whole[field[2]:field[3]]) + `": ` + string(old),
				string(old) + `, "` + strings.ToUpper(string(whole[field[2]:field[3]])) + `": ` + string(old),
			} {
				walk := w.walk()
				walk[at] = []byte(string(whole[:field[1]]) + instead + string(whole[field[1]+len(old):]))
				if n := ours(walk); n > at {
					t.Errorf("document %d with %.40q for %s is believed", i, instead, whole[field[2]:field[3]])
				}
			}
		}
	}
	many := []byte(`{"signed":{"_type":"root","spec_version":"1.0.0","version":1,"keys":{`)
	for i := range 200_000 {
		many = fmt.Appendf(many, `"%d":{},`, i)
	}
	many = append(many, `"x":{}},"roles":{"root":{"keyids":["x"],"threshold":1}}},"signatures":[]}`...)
	if _, err := tuf.Start(many, now); !errors.Is(err, tuf.ErrUntrusted) {
		t.Errorf("many keys: %v", err)
	}
	if _, err := tuf.Start(make([]byte, 5_000_001), now); !errors.Is(err, tuf.ErrUntrusted) {
		t.Errorf("too long: %v", err)
	}
}

// TestSignedTwice: what a signer wrote twice, or in another case, is refused although it is signed: programs differ in which
// of the two they read (security case 17).
func TestSignedTwice(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(string) string{
		"as it is":     func(s string) string { return s },
		"unknown":      func(s string) string { return strings.Replace(s, `"version":`, `"later": null, "version":`, 1) },
		"twice":        func(s string) string { return strings.Replace(s, `"version":`, `"version": 1, "version":`, 1) },
		"another case": func(s string) string { return strings.Replace(s, `"version":`, `"Version": 9, "version":`, 1) },
		"null":         func(s string) string { return strings.Replace(s, `"keyids": [`, `"keyids": null, "x": [`, 1) },
	} {
		doc, err := json.MarshalIndent(w.root.Signed, "", " ")
		w.must(err)
		text := change(string(doc))
		canonical, err := cjson.EncodeCanonical(json.RawMessage(text))
		w.must(err)
		sig, err := w.keys["root"].SignMessage(bytes.NewReader(canonical))
		w.must(err)
		id := w.root.Signed.Roles["root"].KeyIDs[0]
		_, err = tuf.Start(fmt.Appendf(nil, `{"signed":%s,"signatures":[{"keyid":%q,"sig":"%x"}]}`, text, id, sig), now)
		if good := name == "as it is" || name == "unknown"; (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOutOfOrder(t *testing.T) {
	w := newWorld(t)
	r, err := tuf.Start(w.rootB, now)
	w.must(err)
	for _, err := range []error{r.UpdateSnapshot(w.snapshot, false), r.UpdateTargets(w.targets), r.UpdateProduct(w.product, "gw")} {
		if !errors.Is(err, tuf.ErrOrder) {
			t.Error(err)
		}
	}
	w.must(r.UpdateTimestamp(w.timestamp))
	if err := r.UpdateRoot(w.rootB); !errors.Is(err, tuf.ErrOrder) {
		t.Error(err)
	}
	w.must(r.UpdateSnapshot(w.snapshot, false))
	if err := r.UpdateTimestamp(w.timestamp); !errors.Is(err, tuf.ErrOrder) {
		t.Error(err)
	}
}
