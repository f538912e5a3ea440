package swarm

import "time"

// Word is what a device lets others pass on about itself.
type Word struct {
	Device   string
	Revision uint64 // rises with every word of the device
	Claims   Set
	Pack     string // Pack.ID
	Link     Link
	Received int64 // bytes from the origin so far
}

// Limits of News.
const (
	maxWords   = 128
	oldestWord = 30 * time.Second // without anything newer, until a word is forgotten
	wordEvery  = time.Second      // a device's word when only what it has or receives changes
)

// News is the newest word of every device in the swarm, as it is passed on.
type News struct{ of map[string]told }

type told struct {
	Word
	at     time.Time
	number uint64 // of the change that brought it
}

// NewNews returns no news.
func NewNews() *News { return &News{of: map[string]told{}} }

// Say is this device's own word. All devices hear each one, so it counts only when what it claims has changed, or the last
// word is old; then it is true.
func (n *News) Say(w Word, number uint64, now time.Time) bool {
	old, known := n.of[w.Device]
	if known && now.Sub(old.at) < wordEvery && w.Claims.same(old.Claims) {
		return false
	}
	w.Revision = max(old.Revision+1, w.Revision)
	n.of[w.Device] = told{w, now, number}
	return true
}

// Hear takes a word and reports whether it is newer than what was known, and whether it claims something else. number says
// since when it is known here: what Since is asked with.
func (n *News) Hear(w Word, number uint64, now time.Time) (fresh, claims bool) {
	old, known := n.of[w.Device]
	if known && w.Revision <= old.Revision && now.Sub(old.at) < oldestWord {
		return false, false
	}
	if !known && len(n.of) >= maxWords {
		for id, t := range n.of {
			if now.Sub(t.at) >= oldestWord {
				delete(n.of, id)
			}
		}
		if len(n.of) >= maxWords {
			return false, false
		}
	}
	n.of[w.Device] = told{w, now, number}
	return true, !known || !w.Claims.same(old.Claims)
}

// Since returns the words that came after a number and are not too old to be passed on.
func (n *News) Since(number uint64, now time.Time) (out []Word) {
	for _, t := range n.of {
		if t.number > number && now.Sub(t.at) < oldestWord {
			out = append(out, t.Word)
		}
	}
	return out
}
