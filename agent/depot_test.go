package agent

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// shelf is neighbours to whom things are shared.
type shelf struct {
	alone
	mu  sync.Mutex
	all map[firmware.Digest]firmware.Source
}

func (s *shelf) Share(w Swarm) func() {
	id, source := w.ID, w.Have
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[firmware.Digest]firmware.Source{}
	}
	s.all[id] = source
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, id)
	}
}

// gives reports whether neighbours get every chunk of an image now.
func (s *shelf) gives(x *firmware.Index) bool {
	s.mu.Lock()
	source := s.all[indexOf(x)]
	s.mu.Unlock()
	if source == nil {
		return false
	}
	for _, c := range x.Distinct() {
		if b, err := source.Chunk(context.Background(), c.ID); err != nil || firmware.Sum(b) != c.ID {
			return false
		}
	}
	return true
}

// keeping reports which versions a depot says to keep, the newest first.
func keeping(r protocol.Report) (versions []string) {
	if r.Mesh == nil || r.Mesh.Depot == nil {
		return nil
	}
	for _, k := range r.Mesh.Depot.Releases {
		versions = append(versions, k.Version)
	}
	return versions
}

// depotBench is a bench whose device is a depot of so many MiB.
func depotBench(t *testing.T, space int64) (*bench, *shelf) {
	b, near := newBench(t, false), &shelf{}
	b.near = func(Sources) (Neighbors, error) { return near, nil }
	b.configure(func(c *Config) { c.Depot, c.Slots, c.Boot, c.Reboot = &Depot{Space: space}, nil, Boot{}, nil })
	b.cloud.Member("d-1", "all", "kiosks")
	return b, near
}

func (b *bench) keeps(versions ...string) protocol.Report {
	b.t.Helper()
	return b.cloud.Await("kept: "+strings.Join(versions, ", "), func(r protocol.Report) bool { return slices.Equal(keeping(r), versions) })
}

// TestDepot keeps what all groups' policies name, for whichever hardware and however few devices, and installs nothing.
func TestDepot(t *testing.T) {
	b, near := depotBench(t, 0)
	first := payload(1, 3<<20)
	second := bytes.Clone(first)
	copy(second[1<<20:], payload(2, 100<<10))
	b.cloud.Wish(b.cloud.Publish("1.0.0", 5, "other-board", first), func(p *policy.Policy) { p.Cohort.Below = 0 })
	stop := b.start()
	r := b.keeps("1.0.0")
	if r.Running != (protocol.Running{}) || r.Update != nil || r.Mesh.Depot.Bytes != 3<<20 || r.Mesh.Depot.Space != 8<<30 || r.Mesh.Depot.Trouble != "" {
		t.Errorf("%+v, %+v", r, r.Mesh.Depot)
	}
	x := b.cloud.Index(first)
	if !near.gives(x) {
		t.Error("it is not shared")
	}
	fetched := b.cloud.Chunks()
	stop()
	if len(near.all) != 0 {
		t.Error("it is shared by nobody")
	}

	// After a restart it shares again, and what is new costs what has changed.
	stop = b.start()
	b.cloud.Wish(b.cloud.Publish("1.1.0", 6, "other-board", second), func(p *policy.Policy) { p.Audience.Name = "kiosks" })
	b.keeps("1.1.0", "1.0.0")
	if more := b.cloud.Chunks() - fetched; more == 0 || more > fetched/4 || !near.gives(x) || !near.gives(b.cloud.Index(second)) {
		t.Errorf("%d chunks were fetched for the first and %d more for the second", fetched, more)
	}
	stop()

	a := b.open()
	if n := a.trust.Counter(agenttest.Product); n != 0 {
		t.Errorf("counter %d is committed", n)
	}
	for _, name := range []string{"a", "b"} {
		if c := b.slot(name, 1<<20); !bytes.Equal(c, make([]byte, 1<<20)) {
			t.Errorf("slot %s was written", name)
		}
	}

	// What is damaged is refused, not served.
	img, err := filepath.Glob(filepath.Join(b.dir, depotDir, "*.img"))
	if err != nil || len(img) != 2 {
		t.Fatal(img, err)
	}
	for _, path := range img {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("damage"), 2<<20); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	b.start()
	b.cloud.Await("a restart", func(later protocol.Report) bool { return len(keeping(later)) == 2 && later.Seq > r.Seq+2 })
	if near.gives(x) {
		t.Error("damage is served")
	}
}

// TestDepotGoesOn ends a depot while it fetches: what has come is not fetched again.
func TestDepotGoesOn(t *testing.T) {
	b, near := depotBench(t, 0)
	image := payload(1, 3<<20)
	half, release := make(chan struct{}), make(chan struct{})
	var asked atomic.Int32
	b.cloud.Gate(func(path string) {
		if strings.HasPrefix(path, "chunks/") && asked.Add(1) == int32(b.cloud.Distinct()/2) {
			close(half)
			<-release
		}
	})
	b.cloud.Wish(b.cloud.Publish("1.0.0", 1, "other-board", image), nil)
	stop := b.start()
	<-half
	go func() { close(release) }()
	stop()
	b.cloud.Gate(nil)
	if near.gives(b.cloud.Index(image)) {
		t.Error("half of a release is shared as if it were whole")
	}
	b.start()
	b.keeps("1.0.0")
	if all, distinct := b.cloud.Chunks(), b.cloud.Distinct(); all > distinct+2*maxRequests || !near.gives(b.cloud.Index(image)) {
		t.Errorf("%d chunks were fetched of %d", all, distinct)
	}
}

// TestDepotTakesPatches: what a depot keeps is the base of what comes next. When the base must leave to make room, what comes
// next comes whole.
func TestDepotTakesPatches(t *testing.T) {
	one := payload(1, 3<<20)
	two := bytes.Clone(one)
	for i := 0; i < len(two); i += 20 << 10 { // in every chunk
		two[i] ^= 1
	}
	for name, c := range map[string]struct {
		space int64
		whole bool
		want  []string
	}{
		"room for both": {space: 8, want: []string{"1.1.0", "1.0.0"}},
		"room for one":  {space: 4, whole: true, want: []string{"1.1.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, near := depotBench(t, c.space)
			b.cloud.Wish(b.cloud.Publish("1.0.0", 1, "other-board", one), nil)
			b.start()
			b.keeps("1.0.0")
			before, distinct := b.cloud.Chunks(), b.cloud.Distinct()
			release := b.cloud.Publish("1.1.0", 2, "other-board", two)
			b.cloud.Pack(one, two)
			b.cloud.Wish(release, nil)
			b.keeps(c.want...)
			more := b.cloud.Chunks() - before
			if whole := more > distinct*3/4; whole != c.whole || !c.whole && more > 0 || !near.gives(b.cloud.Index(two)) {
				t.Errorf("%d chunks were fetched whole, of %d", more, distinct)
			}
		})
	}
}

// TestDepotWithoutRoom: what is not wanted leaves, what is wanted stays, and the report says what does not fit.
func TestDepotWithoutRoom(t *testing.T) {
	b, near := depotBench(t, 5)
	publish := func(version string, seed uint64, group string) {
		t.Helper()
		b.cloud.Wish(b.cloud.Publish(version, 1, "other-board", payload(seed, 2<<20)), func(p *policy.Policy) { p.Audience.Name = group })
	}
	publish("1.0.0", 1, "all")
	b.start()
	b.keeps("1.0.0")
	publish("1.1.0", 2, "all")
	b.keeps("1.1.0", "1.0.0")
	publish("1.2.0", 3, "kiosks")
	b.keeps("1.2.0", "1.1.0") // 1.0.0 is wanted by nobody
	if near.gives(b.cloud.Index(payload(1, 2<<20))) || !near.gives(b.cloud.Index(payload(2, 2<<20))) {
		t.Error("the wrong one has left")
	}
	big := b.cloud.Publish("2.0.0", 2, "other-board", payload(4, 6<<20))
	b.cloud.Wish(big, func(p *policy.Policy) { p.Audience.Name = "kiosks" })
	r := b.cloud.Await("trouble", func(r protocol.Report) bool { return r.Mesh != nil && r.Mesh.Depot.Trouble != "" })
	if d := cmp.Diff([]string{"1.2.0", "1.1.0"}, keeping(r)); d != "" || !strings.Contains(r.Mesh.Depot.Trouble, "2.0.0") ||
		!strings.Contains(r.Mesh.Depot.Trouble, "depot.space") {
		t.Error(d, r.Mesh.Depot)
	}
	publish("2.1.0", 5, "kiosks")
	r = b.cloud.Await("2.1.0", func(r protocol.Report) bool {
		return slices.Contains(keeping(r), "2.1.0") && r.Mesh.Depot.Trouble == ""
	})
	if d := cmp.Diff([]string{"2.1.0", "1.1.0"}, keeping(r)); d != "" {
		t.Error(d)
	}
}

func TestDepotConfig(t *testing.T) {
	const rest = `"device":"d-1","hardware":"depot","fleet":"f","server":"https://x:1","mesh":{}`
	for text, space := range map[string]int64{
		`{` + rest + `,"depot":true}`:          8 << 30,
		`{` + rest + `,"depot":{}}`:            8 << 30,
		`{` + rest + `,"depot":{"space":100}}`: 100 << 20,
		`{` + rest + `,"depot":{"space":-1}}`:  -1,
		`{` + rest + `,"depot":{"size":1}}`:    -1,
		`{` + rest + `,"depot":false}`:         -1,
		`{` + rest + `}`:                       -1, // without slots
		`{"device":"d-1","hardware":"depot","server":"https://x:1","mesh":{"off":true},"depot":true}`: -1,
	} {
		c, err := ParseConfig([]byte(text))
		if (err != nil) != (space < 0) {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if err != nil {
			continue
		}
		if c.Depot.space() != space {
			t.Errorf("%s: %d", text, c.Depot.space())
		}
		dir := t.TempDir()
		if err := c.Save(dir); err != nil {
			t.Error(err)
		}
		again, err := LoadConfig(filepath.Join(dir, ConfigFile))
		if err != nil || again.Depot == nil || again.Depot.space() != space {
			t.Errorf("%s is not what is read again: %v", text, err)
		}
	}
}
