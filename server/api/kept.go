package api

import (
	"sync"
	"time"
)

// kept keeps an answer for ten times as long as it took to make: in a small fleet it is always made afresh, and in a large
// one it takes a tenth of a core at most, however many pages ask.
type kept[T any] struct {
	mu    sync.Mutex
	last  T
	until time.Time
}

func (k *kept[T]) get(answer func() (T, error)) (T, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	begun := time.Now()
	if begun.Before(k.until) {
		return k.last, nil
	}
	made, err := answer()
	if err != nil {
		return made, err
	}
	k.last, k.until = made, time.Now().Add(10*time.Since(begun))
	return made, nil
}
