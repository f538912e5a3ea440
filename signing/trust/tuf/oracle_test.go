package tuf_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

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
