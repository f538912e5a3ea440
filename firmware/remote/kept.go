package remote

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Kept is the bodies of a pack's groups as they came, for others with the same base: a fraction of the chunks that they
// yield. What is in it has yielded them here. It is safe for concurrent use.
type Kept struct {
	file interface {
		io.ReaderAt
		io.WriterAt
	}
	limit int64

	mu  sync.Mutex
	at  map[int]span // group →
	end int64
}

type span struct{ offset, size int64 }

// NewKept returns an empty Kept that puts up to limit bytes into a file, from its beginning on.
func NewKept(file interface {
	io.ReaderAt
	io.WriterAt
}, limit int64,
) *Kept {
	return &Kept{file: file, limit: limit, at: map[int]span{}}
}

// Held returns the numbers of the groups that are kept, ascending.
func (k *Kept) Held() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.at))
}

// Patch returns the body of a group. The error matches firmware.ErrNotFound when it is not kept.
func (k *Kept) Patch(group int) ([]byte, error) {
	k.mu.Lock()
	at, ok := k.at[group]
	k.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("patch of group %d: %w", group, firmware.ErrNotFound)
	}
	body := make([]byte, at.size)
	if _, err := k.file.ReadAt(body, at.offset); err != nil {
		return nil, fmt.Errorf("patch of group %d: %w", group, err)
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
		return fmt.Errorf("patches are kept for neighbours no more: %w", err)
	}
	k.at[group] = span{k.end, size}
	k.end += size
	return nil
}
