package remote

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch/delta"
)

// File is where a [Kept] lies.
type File interface {
	io.ReaderAt
	io.WriterAt
}

// Kept is the bodies of a pack's groups as they came, for others with the same base: a fraction of the chunks that they
// yield. What is put into it has yielded them here. It is safe for concurrent use.
type Kept struct {
	file  File
	limit int64

	mu  sync.Mutex
	at  map[int]Span // group →
	end int64
}

// Span is where the body of a group lies in the file of a [Kept].
type Span struct {
	Group  int             `json:"group"`
	Offset int64           `json:"offset"`
	Size   int64           `json:"size"`
	SHA256 firmware.Digest `json:"sha256"`
}

// NewKept returns an empty Kept that puts up to limit bytes into a file, from its beginning on.
func NewKept(file File, limit int64) *Kept {
	return &Kept{file: file, limit: limit, at: map[int]Span{}}
}

// OpenKept returns what a Kept had in a file, by its Spans; nothing is put into it any more.
func OpenKept(file File, spans []Span) *Kept {
	k := NewKept(file, 0)
	for _, s := range spans {
		if s.Group >= 0 && s.Offset >= 0 && s.Size > 0 && s.Size <= delta.MaxBody {
			k.at[s.Group] = s
		}
	}
	return k
}

// Spans returns what [OpenKept] needs, by group.
func (k *Kept) Spans() []Span {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]Span, 0, len(k.at))
	for _, g := range slices.Sorted(maps.Keys(k.at)) {
		out = append(out, k.at[g])
	}
	return out
}

// Held returns the numbers of the groups that are kept, ascending.
func (k *Kept) Held() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.at))
}

// Patch returns the body of a group. The error matches firmware.ErrNotFound when it is not kept, or not any more as it was.
func (k *Kept) Patch(group int) ([]byte, error) {
	k.mu.Lock()
	at, ok := k.at[group]
	k.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("patch of group %d: %w", group, firmware.ErrNotFound)
	}
	body := make([]byte, at.Size)
	if _, err := k.file.ReadAt(body, at.Offset); err != nil || firmware.Sum(body) != at.SHA256 {
		k.mu.Lock()
		delete(k.at, group)
		k.mu.Unlock()
		return nil, fmt.Errorf("patch of group %d is lost: %w", group, firmware.ErrNotFound)
	}
	return body, nil
}

// put keeps a body if there is room. A file that cannot be written to keeps what it has.
func (k *Kept) put(group int, body []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	size := int64(len(body))
	if _, have := k.at[group]; have || k.end+size > k.limit {
		return nil
	}
	if _, err := k.file.WriteAt(body, k.end); err != nil {
		k.limit = k.end
		return fmt.Errorf("%d bytes at %d: %w", size, k.end, err)
	}
	k.at[group] = Span{group, k.end, size, firmware.Sum(body)}
	k.end += size
	return nil
}
