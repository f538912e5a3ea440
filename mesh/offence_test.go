package mesh_test

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh"
)

// witness keeps what it hears of offences.
type witness struct {
	mu    sync.Mutex
	heard map[mesh.Offence]int
}

func (w *witness) hear(o mesh.Offence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.heard == nil {
		w.heard = map[mesh.Offence]int{}
	}
	w.heard[o]++
}

func (w *witness) all() map[mesh.Offence]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.heard)
}

// boaster says that it has everything and breaks off whenever it is to give something.
type boaster struct{}

func (boaster) Has(firmware.ChunkID) bool { return true }
func (boaster) Chunk(context.Context, firmware.ChunkID) ([]byte, error) {
	panic(http.ErrAbortHandler)
}

// changed has everything at first, and says at once when it has not: a slot that is written anew.
type changed struct{}

func (changed) Has(firmware.ChunkID) bool { return true }
func (changed) Chunk(context.Context, firmware.ChunkID) ([]byte, error) {
	return nil, firmware.ErrNotFound
}

// TestOffences tells of what each kind of neighbour does, once for a fetch, and of nobody who does nothing wrong.
func TestOffences(t *testing.T) {
	for name, c := range map[string]struct {
		source firmware.Source
		want   map[mesh.Offence]int
	}{
		"liar":    {liar{}, map[mesh.Offence]int{{Neighbor: "it", Kind: mesh.WrongBytes}: 1}},
		"boaster": {boaster{}, map[mesh.Offence]int{{Neighbor: "it", Kind: mesh.NoDeeds}: 1}},
		"changed": {changed{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, saw := newSite(t), witness{}
			it := s.device("it", nil)
			t.Cleanup(it.Share(mesh.Swarm{ID: firmware.Sum(s.index.Encode()), Index: s.index, Have: c.source}))
			us := s.device("us", func(o *mesh.Options) { o.Offended = saw.hear })
			s.see(us, 1)
			if _, _, err := s.fetch(us); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, saw.all()); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestWrongObject tells of a neighbour whose small content is not what was asked for.
func TestWrongObject(t *testing.T) {
	s, saw := newSite(t), witness{}
	s.device("liar", func(o *mesh.Options) { o.Objects = func(firmware.Digest) []byte { return []byte("poison") } })
	asker := s.device("asker", func(o *mesh.Options) { o.Offended = saw.hear })
	s.see(asker, 1)
	if _, err := asker.Object(s.ctx, firmware.Sum([]byte("x")), 1<<20); err == nil {
		t.Fatal("it is taken")
	}
	if d := cmp.Diff(map[mesh.Offence]int{{Neighbor: "liar", Kind: mesh.WrongBytes}: 1}, saw.all()); d != "" {
		t.Error(d)
	}
}
