package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch"
	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	chunkSize = 8 << 10
	chunks    = 60
	first     = 10 // chunks first to last differ, and come in groups of perGroup
	last      = 49
	perGroup  = 5
)

// repo is a repository in memory that counts.
type repo struct {
	files    map[string][]byte
	noRange  bool
	fail     func(path string) error // of one request
	line     atomic.Int64
	requests atomic.Int32
	busy     atomic.Int32
	peak     atomic.Int32
}

func (r *repo) get(path string) ([]byte, error) {
	r.requests.Add(1)
	for now := r.busy.Add(1); ; {
		peak := r.peak.Load()
		if now <= peak || r.peak.CompareAndSwap(peak, now) {
			break
		}
	}
	defer r.busy.Add(-1)
	if r.fail != nil {
		if err := r.fail(path); err != nil {
			return nil, err
		}
	}
	b, ok := r.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

func (r *repo) Fetch(_ context.Context, path string, limit int64) ([]byte, error) {
	b, err := r.get(path)
	if int64(len(b)) > limit {
		return nil, firmware.ErrTooLarge
	}
	r.line.Add(int64(len(b)))
	return b, err
}

func (r *repo) Range(_ context.Context, path string, offset, n int64) ([]byte, error) {
	b, err := r.get(path)
	if err == nil && r.noRange && offset > 0 {
		return nil, remote.ErrNoRange
	}
	b = b[min(offset, int64(len(b))):min(offset+n, int64(len(b)))]
	r.line.Add(int64(len(b)))
	return b, err
}

// world is two payloads, what a device has and what the repository offers.
type world struct {
	*repo
	base, target           []byte
	baseIndex, targetIndex *firmware.Index
	log                    bytes.Buffer
	pack                   *patch.Pack
}

func index(payload []byte) *firmware.Index {
	var all []firmware.Chunk
	for c := range slices.Chunk(payload, chunkSize) {
		all = append(all, firmware.Chunk{ID: firmware.Sum(c), Size: uint32(len(c))})
	}
	return firmware.NewIndex(firmware.Chunking{Min: 1, Avg: chunkSize, Max: chunkSize}, all)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{repo: &repo{files: map[string][]byte{}}, base: make([]byte, chunks*chunkSize)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range w.base {
		w.base[i] = byte(r.Uint32N(16))
	}
	w.target = bytes.Clone(w.base)
	for i := first; i <= last; i++ {
		for k := range 700 { // noise, so that the pack is longer than the first request
			w.target[i*chunkSize+77+k] = byte(r.Uint32())
		}
	}
	w.baseIndex, w.targetIndex = index(w.base), index(w.target)
	for i, c := range w.targetIndex.Chunks {
		w.files["chunks/"+firmware.ChunkPath(c.ID)] = firmware.EncodeChunk(w.target[i*chunkSize : (i+1)*chunkSize])
	}
	w.build(t, w.base)
	return w
}

// build puts a pack into the repository that was made with a base.
func (w *world) build(t *testing.T, base []byte) {
	t.Helper()
	var groups []patch.Group
	var bodies []byte
	sizes := slices.Repeat([]int{chunkSize}, perGroup)
	for at := first; at <= last; at += perGroup {
		from, to := at*chunkSize, (at+perGroup)*chunkSize
		body := delta.Encode([]delta.Range{{Offset: int64(from), Length: int64(to - from)}}, base[from:to], w.target[from:to], sizes,
			[]delta.Segment{{Length: to - from}})
		bodies = append(bodies, body...)
		g := patch.Group{Size: int64(len(body))}
		for i := range perGroup {
			g.Chunks = append(g.Chunks, at+i)
		}
		groups = append(groups, g)
	}
	difference, err := patch.Difference(w.baseIndex, w.targetIndex.Encode())
	if err != nil {
		t.Fatal(err)
	}
	front, p, err := patch.Encode(firmware.Sum(w.base), firmware.Sum(w.target), difference, groups)
	if err != nil {
		t.Fatal(err)
	}
	w.pack = p
	w.files[w.path()] = append(front, bodies...)
}

func (w *world) path() string { return patch.Path(firmware.Sum(w.base), firmware.Sum(w.target)) }

func (w *world) options() remote.Options {
	return remote.Options{
		Files: w.repo, Target: firmware.Sum(w.target), Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Base: &remote.Base{SHA256: firmware.Sum(w.base), Index: w.baseIndex, Payload: bytes.NewReader(w.base)},
	}
}

func (w *world) open(t *testing.T) *remote.Remote {
	t.Helper()
	o := w.options()
	o.Index = w.targetIndex
	r, err := remote.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// changed are the chunks that the base lacks.
func (w *world) changed() []firmware.Chunk { return w.targetIndex.Chunks[first : last+1] }

// taken collects what is delivered, verified.
type taken struct {
	sync.Mutex
	ids map[firmware.ChunkID]bool
}

func (d *taken) deliver(plain []byte, id firmware.ChunkID) error {
	if firmware.Sum(plain) != id {
		return firmware.ErrCorrupt
	}
	d.Lock()
	defer d.Unlock()
	if d.ids == nil {
		d.ids = map[firmware.ChunkID]bool{}
	}
	if d.ids[id] {
		return errors.New("delivered twice")
	}
	d.ids[id] = true
	return nil
}

// fetch fetches a batch, which must come in whole, and checks that the bytes are counted.
func (w *world) fetch(t *testing.T, r *remote.Remote, batch []firmware.Chunk) int64 {
	t.Helper()
	before := w.line.Load()
	var d taken
	n, err := r.Fetch(t.Context(), batch, d.deliver)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range batch {
		if !d.ids[c.ID] {
			t.Fatalf("%s did not come", c.ID)
		}
	}
	if len(d.ids) != len(batch) {
		t.Errorf("%d chunks came, %d were asked for", len(d.ids), len(batch))
	}
	if line := w.line.Load() - before; line != n {
		t.Errorf("%d bytes came, it says %d", line, n)
	}
	return n
}

// counts checks that everything that came over the line is counted, when r was the only one.
func (w *world) counts(t *testing.T, r *remote.Remote) {
	t.Helper()
	if sum := r.Traffic(); sum.Chunk+sum.Index+sum.Patch != w.line.Load() {
		t.Errorf("%+v after %d bytes", sum, w.line.Load())
	}
}

// frames returns the bytes of chunks as they are stored.
func (w *world) frames(of []firmware.Chunk) (n int64) {
	for _, c := range of {
		n += int64(len(w.files["chunks/"+firmware.ChunkPath(c.ID)]))
	}
	return n
}

func TestGroupsComeAsPatches(t *testing.T) {
	w := newWorld(t)
	r := w.open(t)
	groups := r.Groups()
	if len(groups) != (last-first+1)/perGroup || groups[1][0] != first+perGroup {
		t.Fatalf("%v", groups)
	}
	before := w.requests.Load()
	n := w.fetch(t, r, w.changed())
	if n >= w.frames(w.changed())/5 || r.Traffic().Chunk != 0 {
		t.Errorf("%d bytes for chunks of %d: %+v", n, w.frames(w.changed()), r.Traffic())
	}
	if asked := w.requests.Load() - before; int(asked) > len(groups) {
		t.Errorf("%d requests for %d groups", asked, len(groups))
	}
	if w.line.Load() > int64(len(w.files[w.path()])) {
		t.Errorf("%d bytes of a pack of %d", w.line.Load(), len(w.files[w.path()]))
	}
	if w.peak.Load() > 4 {
		t.Errorf("%d requests at a time", w.peak.Load())
	}
	w.counts(t, r)
	if w.log.Len() > 0 {
		t.Error(w.log.String())
	}
}

func TestIndexComesAsDifference(t *testing.T) {
	w := newWorld(t)
	encoded := w.targetIndex.Encode()
	want := firmware.File{Size: int64(len(encoded)), SHA256: firmware.Sum(encoded)}
	r, err := remote.Open(t.Context(), w.options())
	if err != nil {
		t.Fatal(err)
	}
	if r.Groups() != nil {
		t.Error("groups without an index")
	}
	got, err := r.Index(t.Context(), want)
	if err != nil || !bytes.Equal(got, encoded) {
		t.Fatalf("another index: %v", err)
	}
	if _, size := w.pack.IndexSpan(); r.Traffic().Index != size {
		t.Errorf("%+v, the difference has %d bytes", r.Traffic(), size)
	}
	if len(r.Groups()) == 0 {
		t.Error("no groups")
	}
	w.fetch(t, r, w.changed())
	w.counts(t, r)

	want.SHA256[0]++
	if _, err := r.Index(t.Context(), want); !errors.Is(err, firmware.ErrCorrupt) {
		t.Errorf("another digest: %v", err)
	}
}

func TestFewChunksOfAGroupComeWhole(t *testing.T) {
	w := newWorld(t)
	r := w.open(t)
	// A patch that is small beside what is wanted is taken even for few chunks.
	if n := w.fetch(t, r, w.changed()[:2]); n > w.pack.Groups[0].Size {
		t.Errorf("%d bytes", n)
	}
	// A large one is taken when most of it is wanted.
	w = newWorld(t)
	strange := make([]byte, len(w.base))
	for i := range strange {
		strange[i] = byte(rand.Uint32())
	}
	w.base, w.baseIndex = strange, index(strange)
	w.build(t, w.base) // bodies of about the size of what they yield
	r = w.open(t)
	if n, whole := r.Plan(w.changed()[:2]); n != 0 || len(whole) != 2 {
		t.Errorf("2 of %d chunks: %d bytes of patches, %d whole", perGroup, n, len(whole))
	}
	if n, whole := r.Plan(w.changed()[1:perGroup]); n == 0 || len(whole) != 0 {
		t.Errorf("all of %d chunks but one: %d bytes of patches, %d whole", perGroup, n, len(whole))
	}
	w.fetch(t, r, w.changed()[:2])
	w.fetch(t, r, w.changed()[perGroup+1:])
}

// Nothing is wrong with a repository that has no pack.
func TestNoPack(t *testing.T) {
	w := newWorld(t)
	delete(w.files, w.path())
	r := w.open(t)
	if r.Groups() != nil {
		t.Error("groups without a pack")
	}
	if n := w.fetch(t, r, w.changed()); n != w.frames(w.changed()) {
		t.Errorf("%d bytes for %d", n, w.frames(w.changed()))
	}
	if _, err := r.Index(t.Context(), firmware.File{Size: 1}); !errors.Is(err, remote.ErrNoPack) {
		t.Errorf("%v", err)
	}
	o := w.options()
	o.Base, o.Index = nil, w.targetIndex
	before := w.requests.Load()
	if r, err := remote.Open(t.Context(), o); err != nil || w.requests.Load() != before {
		t.Errorf("without a base %d requests, %v", w.requests.Load()-before, err)
	} else {
		w.fetch(t, r, w.changed())
	}
}

// What is wrong with a pack, a base or a server costs bytes, never a chunk.
func TestDamage(t *testing.T) {
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		spoil   func(t *testing.T, w *world) []byte // returns the base
		opens   error                               // what Open says
		most    int                                 // chunks that may come whole
		warning string
	}{
		"one byte of the base": {
			func(_ *testing.T, w *world) []byte { return flip(w.base, 20*chunkSize+5) }, nil, perGroup, "damaged",
		},
		"all of the base": {
			func(_ *testing.T, w *world) []byte { return make([]byte, len(w.base)) }, nil, last - first + 1, "most of its groups fail",
		},
		"a base that ends early": {
			func(_ *testing.T, w *world) []byte { return w.base[:30*chunkSize] }, nil, last - first + 1, "damaged",
		},
		"one byte of a body": {func(_ *testing.T, w *world) []byte {
			g := w.pack.Groups[3]
			w.files[w.path()] = flip(w.files[w.path()], int(g.Offset+g.Size/2))
			return w.base
		}, nil, perGroup, "damaged"},
		"a pack that was built anew": {func(t *testing.T, w *world) []byte {
			front := bytes.Clone(w.files[w.path()])
			b := make([]byte, len(front))
			rand.NewChaCha8([32]byte{}).Read(b)
			w.files[w.path()] = append(front[:w.pack.Groups[0].Offset], b...)[:len(front)]
			return w.base
		}, nil, last - first + 1, ""},
		"a pack of another pair": {func(_ *testing.T, w *world) []byte {
			w.files[w.path()] = flip(w.files[w.path()], 9)
			return w.base
		}, firmware.ErrMalformed, last - first + 1, ""},
		"no pack at all": {func(_ *testing.T, w *world) []byte {
			w.files[w.path()] = []byte("<html>")
			return w.base
		}, firmware.ErrMalformed, last - first + 1, ""},
		"a pack cut in its front": {func(_ *testing.T, w *world) []byte {
			w.files[w.path()] = w.files[w.path()][:100]
			return w.base
		}, firmware.ErrMalformed, last - first + 1, ""},
		"a pack cut in a body": {func(_ *testing.T, w *world) []byte {
			w.files[w.path()] = w.files[w.path()][:w.pack.Groups[6].Offset+1]
			return w.base
		}, nil, 2 * perGroup, ""},
		"a pack of another index": {func(_ *testing.T, w *world) []byte {
			w.targetIndex = firmware.NewIndex(w.targetIndex.Chunking, w.targetIndex.Chunks[first:last])
			return w.base
		}, nil, last - first + 1, "another index"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			batch := w.changed()
			o := w.options()
			o.Base.Payload = bytes.NewReader(c.spoil(t, w))
			if c.warning == "another index" {
				batch = w.targetIndex.Chunks
			}
			o.Index, o.Requests = w.targetIndex, 1
			r, err := remote.Open(t.Context(), o)
			if !errors.Is(err, c.opens) {
				t.Fatal(err)
			}
			w.fetch(t, r, batch)
			if c.warning == "most of its groups fail" && r.Traffic().Patch > w.pack.Size*3/4 {
				t.Errorf("%d bytes of a pack of no use that has %d", r.Traffic().Patch, w.pack.Size)
			}
			if whole := r.Traffic().Chunk; whole == 0 || whole > w.frames(batch[:min(c.most, len(batch))])*11/10 {
				t.Errorf("%d bytes of chunks, at most %d chunks should come whole", whole, c.most)
			}
			if !strings.Contains(w.log.String(), c.warning) {
				t.Errorf("it says %q", w.log.String())
			}
		})
	}
}

// A pack that vanishes is not asked for again.
func TestPackVanishes(t *testing.T) {
	w := newWorld(t)
	r := w.open(t)
	delete(w.files, w.path())
	w.fetch(t, r, w.changed()[perGroup:])
	if r.Groups() != nil {
		t.Error("still groups")
	}
	before := w.requests.Load()
	w.fetch(t, r, w.changed()[:1])
	if w.requests.Load() != before+1 {
		t.Errorf("%d requests for a chunk", w.requests.Load()-before)
	}
}

func TestServerWithoutRanges(t *testing.T) {
	for _, whole := range []int64{0, 1 << 20} {
		w := newWorld(t)
		w.noRange = true
		o := w.options()
		o.Index, o.Whole = w.targetIndex, whole
		r, err := remote.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		w.fetch(t, r, w.changed())
		w.counts(t, r)
		if all := int64(len(w.files[w.path()])); all > patch.HeadSize {
			switch got := r.Traffic(); {
			case whole == 0 && got.Chunk < w.frames(w.changed())/2:
				t.Errorf("%+v without ranges", got)
			case whole > 0 && (got.Chunk != 0 || got.Patch > all+patch.HeadSize):
				t.Errorf("%+v of a pack of %d", got, all)
			}
		} else {
			t.Fatalf("the pack has %d bytes only", all)
		}
	}
}

// The network may fail, and then the caller hears of it and may try again.
func TestNetworkFails(t *testing.T) {
	down := errors.New("no route to host")
	w := newWorld(t)
	w.fail = func(path string) error {
		if strings.HasPrefix(path, "patches/") {
			return down
		}
		return nil
	}
	o := w.options()
	o.Index = w.targetIndex
	r, err := remote.Open(t.Context(), o)
	if !errors.Is(err, down) {
		t.Fatalf("%v", err)
	}
	w.fetch(t, r, w.changed()[:3])

	w.fail = nil
	r = w.open(t)
	w.fail = func(string) error { return down }
	var d taken
	if n, err := r.Fetch(t.Context(), w.changed()[perGroup:], d.deliver); !errors.Is(err, down) || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	w.fail = nil
	w.fetch(t, r, w.changed())
	if r.Traffic().Chunk != 0 {
		t.Errorf("a failure of the network made chunks come whole: %+v", r.Traffic())
	}
}

// What the taker cannot take ends it.
func TestTakerFails(t *testing.T) {
	w := newWorld(t)
	full := errors.New("no space left")
	for _, batch := range [][]firmware.Chunk{w.changed(), w.targetIndex.Chunks[:3]} {
		var calls atomic.Int32
		_, err := w.open(t).Fetch(t.Context(), batch, func([]byte, firmware.ChunkID) error { calls.Add(1); return full })
		if !errors.Is(err, full) || calls.Load() > 5 {
			t.Errorf("%d calls, %v", calls.Load(), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var d taken
	if _, err := w.open(t).Fetch(ctx, w.changed(), d.deliver); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// What another device holds does not keep the rest of a batch from coming, as patches or whole.
func TestHeldElsewhere(t *testing.T) {
	w := newWorld(t)
	r := w.open(t)
	o := w.options()
	o.Base, o.Index = nil, w.targetIndex
	whole, err := remote.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	w.fail = func(string) error {
		if asked.Add(1) == 2 {
			return fmt.Errorf("%w: d-7", remote.ErrHeld)
		}
		return nil
	}
	for _, c := range []struct {
		what   string
		remote *remote.Remote
		lost   int
	}{
		{"a group", r, perGroup},
		{"a chunk", whole, 1},
	} {
		asked.Store(0)
		var d taken
		_, err := c.remote.Fetch(t.Context(), w.changed(), d.deliver)
		if !errors.Is(err, remote.ErrHeld) || len(d.ids) != len(w.changed())-c.lost {
			t.Errorf("%s is held elsewhere: %d of %d chunks came, %v", c.what, len(d.ids), len(w.changed()), err)
		}
	}
	w.fail = nil
	w.fetch(t, r, w.changed())
}
