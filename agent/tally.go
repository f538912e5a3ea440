package agent

import (
	"cmp"
	"slices"
	"sync"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// tally counts where the chunks of one attempt came from, across jobs and processes. It is safe for concurrent use.
type tally struct {
	mu sync.Mutex
	by map[source]*protocol.Source
}

type source struct{ device, why string }

// maxTallied bounds what is remembered; a report names the largest.
const maxTallied = 128

// newTally goes on from what was counted before.
func newTally(before []protocol.Source) *tally {
	t := &tally{by: map[source]*protocol.Source{}}
	for _, s := range before {
		t.add(s)
	}
	return t
}

// came is Swarm.Came.
func (t *tally) came(d Delivery) {
	t.add(protocol.Source{Device: d.From, Why: d.Why, Chunks: int64(d.Chunks), Bytes: d.Bytes})
}

func (t *tally) add(s protocol.Source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := source{s.Device, s.Why}
	if t.by[key] == nil && len(t.by) >= maxTallied {
		key = source{why: protocol.WhyOthers}
	}
	if t.by[key] == nil {
		t.by[key] = &protocol.Source{Device: key.device, Why: key.why}
	}
	t.by[key].Chunks += s.Chunks
	t.by[key].Bytes += s.Bytes
}

// peers returns what neighbours gave, in bytes on the wire.
func (t *tally) peers() (n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, s := range t.by {
		if key.neighbour() {
			n += s.Bytes
		}
	}
	return n
}

func (s source) neighbour() bool { return s.device != "" || s.why == protocol.WhyOthers }

// sources returns the server's reasons first and then the neighbours, who gave most first; the last are one together if they
// are too many.
func (t *tally) sources() []protocol.Source {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]protocol.Source, 0, len(t.by))
	for _, s := range t.by {
		out = append(out, *s)
	}
	rank := func(s protocol.Source) int {
		switch {
		case s.Why == protocol.WhyOthers:
			return 2
		case s.Device != "":
			return 1
		}
		return 0
	}
	slices.SortFunc(out, func(a, b protocol.Source) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Why, b.Why))
	})
	if len(out) <= protocol.MaxSources {
		return out
	}
	rest := protocol.Source{Why: protocol.WhyOthers}
	for _, s := range out[protocol.MaxSources-1:] {
		rest.Chunks += s.Chunks
		rest.Bytes += s.Bytes
	}
	return append(out[:protocol.MaxSources-1], rest)
}
