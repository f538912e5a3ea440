package tuf_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

var now = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

// world is a small repository made with go-tuf.
type world struct {
	t                          testing.TB
	keys                       map[string]signature.Signer
	root                       *metadata.Metadata[metadata.RootType]
	rootB, timestamp, snapshot []byte
	targets, product           []byte
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, keys: map[string]signature.Signer{}}
	for i, name := range []string{"root", "timestamp", "snapshot", "targets", "gw", "second", "stranger"} {
		var k crypto.PrivateKey
		if i%2 == 0 {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			w.must(err)
			k = key
		} else {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			w.must(err)
			k = key
		}
		s, err := signature.LoadSigner(k, crypto.SHA256)
		w.must(err)
		w.keys[name] = s
	}
	later := now.Add(24 * time.Hour)
	w.root = metadata.Root(later)
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		w.must(w.root.Signed.AddKey(w.key(role), role))
	}
	w.rootB = sign(w, w.root, "root")
	targets := metadata.Targets(later)
	targets.Signed.Version = 3
	id, err := w.key("gw").ID()
	w.must(err)
	targets.Signed.Delegations = &metadata.Delegations{
		Keys:  map[string]*metadata.Key{id: w.key("gw")},
		Roles: []metadata.DelegatedRole{{Name: "gw", KeyIDs: []string{id}, Threshold: 1, Terminating: true, Paths: []string{"gw/*/*"}}},
	}
	w.targets = sign(w, targets, "targets")
	product := metadata.Targets(later)
	product.Signed.Version = 2
	file, err := metadata.TargetFile().FromBytes("gw/1/release.json", []byte("manifest"), "sha256")
	w.must(err)
	product.Signed.Targets["gw/1/release.json"] = file
	w.product = sign(w, product, "gw")
	snapshot := metadata.Snapshot(later)
	snapshot.Signed.Version = 7
	snapshot.Signed.Meta = map[string]*metadata.MetaFiles{"targets.json": metadata.MetaFile(3), "gw.json": metadata.MetaFile(2)}
	w.snapshot = sign(w, snapshot, "snapshot")
	w.timestamp = w.stamp(9, 7)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) key(name string) *metadata.Key {
	public, err := w.keys[name].PublicKey()
	w.must(err)
	k, err := metadata.KeyFromPublicKey(public)
	w.must(err)
	return k
}

func (w *world) stamp(version, snapshot int64) []byte {
	ts := metadata.Timestamp(now.Add(time.Hour))
	ts.Signed.Version = version
	ts.Signed.Meta["snapshot.json"] = metadata.MetaFile(snapshot)
	return sign(w, ts, "timestamp")
}

func sign[T metadata.Roles](w *world, md *metadata.Metadata[T], by ...string) []byte {
	md.ClearSignatures()
	for _, k := range by {
		_, err := md.Sign(w.keys[k])
		w.must(err)
	}
	b, err := md.ToBytes(true)
	w.must(err)
	return b
}

// ours and theirs judge a walk: the documents in the order of the workflow, the first timestamp and snapshot as
// remembered ones. They return after how many documents they stopped.
func ours(walk [][]byte) (n int) {
	r, err := tuf.Start(walk[0], now)
	if err != nil {
		return 0
	}
	for i, update := range []func([]byte) error{
		r.UpdateRoot, r.UpdateTimestamp, r.UpdateTimestamp,
		func(b []byte) error { return r.UpdateSnapshot(b, true) }, func(b []byte) error { return r.UpdateSnapshot(b, false) },
		r.UpdateTargets, func(b []byte) error { return r.UpdateProduct(b, "gw") },
	} {
		if walk[i+1] != nil && update(walk[i+1]) != nil {
			return i + 1
		}
	}
	return len(walk)
}

func theirs(walk [][]byte) (n int) {
	defer func() {
		if recover() != nil {
			n = -1
		}
	}()
	r, err := trustedmetadata.New(walk[0])
	if err != nil {
		return 0
	}
	r.RefTime = now
	for i, update := range []func([]byte) error{
		func(b []byte) error { _, err := r.UpdateRoot(b); return err },
		func(b []byte) error { _, err := r.UpdateTimestamp(b); return err },
		func(b []byte) error { _, err := r.UpdateTimestamp(b); return err },
		func(b []byte) error { _, err := r.UpdateSnapshot(b, true); return err },
		func(b []byte) error { _, err := r.UpdateSnapshot(b, false); return err },
		func(b []byte) error { _, err := r.UpdateTargets(b); return err },
		func(b []byte) error { _, err := r.UpdateDelegatedTargets(b, "gw", "targets"); return err },
	} {
		if walk[i+1] != nil && update(walk[i+1]) != nil {
			return i + 1
		}
	}
	return len(walk)
}

func (w *world) walk() [][]byte {
	return [][]byte{w.rootB, nil, nil, w.timestamp, nil, w.snapshot, w.targets, w.product}
}

func TestBelievesWhatIsSigned(t *testing.T) {
	w := newWorld(t)
	if n := ours(w.walk()); n != 8 {
		t.Fatalf("stopped at document %d", n)
	}
	r, err := tuf.Start(w.rootB, now)
	w.must(err)
	for _, err := range []error{
		r.UpdateTimestamp(w.timestamp), r.UpdateSnapshot(w.snapshot, false), r.UpdateTargets(w.targets), r.UpdateProduct(w.product, "gw"),
	} {
		w.must(err)
	}
	for name, want := range map[string]string{
		"gw/1/release.json": "gw", "gw/1/2/release.json": "", "other/1/release.json": "", "gw/release.json": "", "gw/../x": "",
	} {
		if got := r.Delegated(name); got != want {
			t.Errorf("%s is delegated to %q", name, got)
		}
	}
	if _, ok := r.Products["gw"].Targets["gw/1/release.json"].Hashes.SHA256(); !ok {
		t.Error("no digest")
	}
}

// TestAgreesWithOracle (security cases 01, 03, 04, 05, 09, 10, 22) spoils the documents in every way that matters, and some at random; both must stop at the same one.
func TestAgreesWithOracle(t *testing.T) {
	w := newWorld(t)
	second := metadata.Root(now.Add(time.Hour))
	second.Signed = w.root.Signed
	second.Signed.Version = 2
	rootBy := func(version int64, by ...string) []byte {
		second.Signed.Version = version
		return sign(w, second, by...)
	}
	snapshotBy := func(change func(*metadata.SnapshotType), by string) []byte {
		md, err := metadata.Snapshot().FromBytes(w.snapshot)
		w.must(err)
		change(&md.Signed)
		return sign(w, md, by)
	}
	productBy := func(change func(*metadata.TargetsType), by string) []byte {
		md, err := metadata.Targets().FromBytes(w.product)
		w.must(err)
		change(&md.Signed)
		return sign(w, md, by)
	}
	expired := metadata.Timestamp(now.Add(-time.Hour))
	expired.Signed.Version = 10
	expired.Signed.Meta["snapshot.json"] = metadata.MetaFile(7)
	for name, spoil := range map[string]func(walk [][]byte){
		"nothing":                     func([][]byte) {},
		"the next root":               func(d [][]byte) { d[1] = rootBy(2, "root") },
		"a root that jumps":           func(d [][]byte) { d[1] = rootBy(3, "root") },
		"a root by a stranger":        func(d [][]byte) { d[1] = rootBy(2, "stranger") },
		"an expired timestamp":        func(d [][]byte) { d[3] = sign(w, expired, "timestamp") },
		"an older timestamp":          func(d [][]byte) { d[2], d[3] = w.timestamp, w.stamp(8, 7) },
		"the same timestamp":          func(d [][]byte) { d[2] = w.timestamp },
		"a timestamp by another role": func(d [][]byte) { d[3] = w.snapshot },
		"an older snapshot":           func(d [][]byte) { d[2], d[3] = w.timestamp, w.stamp(10, 6) },
		"a remembered snapshot":       func(d [][]byte) { d[4], d[5] = w.snapshot, nil },
		"a snapshot that drops a role": func(d [][]byte) {
			d[3], d[4] = w.stamp(9, 8), w.snapshot
			d[4] = w.snapshot
			d[5] = snapshotBy(func(s *metadata.SnapshotType) { s.Version = 8; delete(s.Meta, "gw.json") }, "snapshot")
		},
		"a snapshot with another version": func(d [][]byte) { d[5] = snapshotBy(func(s *metadata.SnapshotType) { s.Version = 8 }, "snapshot") },
		"a snapshot by a stranger":        func(d [][]byte) { d[5] = snapshotBy(func(*metadata.SnapshotType) {}, "stranger") },
		"targets as product":              func(d [][]byte) { d[7] = w.targets },
		"a product by a stranger":         func(d [][]byte) { d[7] = productBy(func(*metadata.TargetsType) {}, "stranger") },
		"a product with another version":  func(d [][]byte) { d[7] = productBy(func(p *metadata.TargetsType) { p.Version = 3 }, "gw") },
		"an expired product":              func(d [][]byte) { d[7] = productBy(func(p *metadata.TargetsType) { p.Expires = now.Add(-1) }, "gw") },
		"a timestamp of another length": func(d [][]byte) {
			ts := metadata.Timestamp(now.Add(time.Hour))
			ts.Signed.Version = 9
			ts.Signed.Meta["snapshot.json"] = &metadata.MetaFiles{Version: 7, Length: 5}
			d[3] = sign(w, ts, "timestamp")
		},
	} {
		walk := w.walk()
		spoil(walk)
		if a, b := ours(walk), theirs(walk); a != b {
			t.Errorf("%s: we stop at document %d, go-tuf at %d", name, a, b)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		walk := w.walk()
		i := rapid.SampledFrom([]int{0, 3, 5, 6, 7}).Draw(rt, "document")
		b := append([]byte(nil), walk[i]...)
		at := rapid.IntRange(0, len(b)-1).Draw(rt, "at")
		b[at] = rapid.SampledFrom([]byte(`0129afgz{}[]":, \\/`+"\n\x00\xff")).Draw(rt, "byte")
		walk[i] = b
		a, o := ours(walk), theirs(walk)
		if a > o && o >= 0 { // never more trusting; where go-tuf panics we refuse
			rt.Fatalf("we stop at document %d, go-tuf at %d, after byte %d of document %d became %q", a, o, at, i, b[at])
		}
	})
}

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

// FuzzAgainstOracle holds that no document makes the rules panic, and none that go-tuf refuses is believed.
func FuzzAgainstOracle(f *testing.F) {
	w := newWorld(f)
	for i, b := range [][]byte{w.rootB, w.timestamp, w.snapshot, w.targets, w.product} {
		f.Add(b, []int{0, 3, 5, 6, 7}[i])
	}
	f.Add([]byte(`null`), 0)
	f.Add([]byte(`{"signed":null,"signatures":null}`), 3)
	f.Add([]byte(`{"signed":{"_type":"root","spec_version":"1.0.0","version":1,"roles":{"root":{"keyids":["a"],"threshold":1}},"keys":{"a":null}},"signatures":[]}`), 0)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		if at < 0 || at > 7 || at == 2 || at == 4 {
			return
		}
		walk := w.walk()
		walk[at] = b
		if a, o := ours(walk), theirs(walk); a > o && o >= 0 {
			t.Fatalf("we stop at document %d, go-tuf at %d", a, o)
		}
	})
}
