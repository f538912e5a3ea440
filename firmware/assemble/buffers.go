package assemble

import "sync"

// buffers hands out buffers of one size: at most as many as there may be, made when they are needed, and the one that was
// given back last first, so that no more are made than were ever in use at once.
type buffers struct {
	room chan struct{}
	size int

	mu   sync.Mutex
	free [][]byte
}

func newBuffers(n, size int) *buffers { return &buffers{room: make(chan struct{}, n), size: size} }

// take waits for a buffer.
func (b *buffers) take() []byte {
	b.room <- struct{}{}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.free); n > 0 {
		buf := b.free[n-1]
		b.free = b.free[:n-1]
		return buf
	}
	return make([]byte, b.size)
}

func (b *buffers) give(buf []byte) {
	b.mu.Lock()
	b.free = append(b.free, buf)
	b.mu.Unlock()
	<-b.room
}
