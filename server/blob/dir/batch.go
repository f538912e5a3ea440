package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/waxwing-ota/waxwing/server/blob"
)

// batch is a blob.Batch: blobs wait under temporary names.
//
// Commit flushes the file system once, which makes the bytes of all of them durable, then renames each to its place, then
// flushes once more for the names. So nothing has its name before its bytes are safe, as with Put, and a crash in
// between leaves temporary files that the next Open removes and blobs that are whole. A release of 5000 chunks costs two
// flushes instead of 15,000.
type batch struct {
	s *Store

	mu      sync.Mutex
	waiting []waiting
	flusher *flusher // opened before anything is written, so that it hears of every error from then on
}

type waiting struct{ temp, path string }

var _ blob.Batcher = (*Store)(nil)

// Batch implements blob.Batcher.
func (s *Store) Batch() blob.Batch { return &batch{s: s} }

// Put implements blob.Batch.
func (b *batch) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	path, err := b.s.path(ctx, key)
	if err != nil {
		return err
	}
	if err := b.open(); err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	f, err := b.s.write(ctx, r, size)
	if err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	// The folder is made here, by as many goroutines as put, and not in Commit, which somebody waits for.
	if err := errors.Join(f.Close(), makeFolder(filepath.Dir(path))); err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("store %s: %w", key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, waiting{f.Name(), path})
	return nil
}

func (b *batch) open() (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flusher == nil {
		b.flusher, err = newFlusher(b.s.root)
	}
	return err
}

// Commit implements blob.Batch.
func (b *batch) Commit(ctx context.Context) error {
	b.mu.Lock()
	all, flusher := b.waiting, b.flusher
	b.waiting = nil
	b.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	if err := b.s.commit(ctx, all, flusher); err != nil {
		remove(all) // those that have their place are not under these names any more
		return fmt.Errorf("store %d blobs: %w", len(all), err)
	}
	return nil
}

func (s *Store) commit(ctx context.Context, all []waiting, flusher *flusher) error {
	if err := flusher.bytes(all); err != nil {
		return err
	}
	for _, w := range all { // one by one: the kernel renames between folders one at a time anyhow
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := os.Rename(w.temp, w.path); err != nil {
			return err
		}
	}
	return flusher.names(all)
}

// makeFolder makes a folder; it is durable after the next flush.
func makeFolder(folder string) error {
	err := os.Mkdir(folder, 0o755)
	if errors.Is(err, os.ErrNotExist) {
		err = os.MkdirAll(folder, 0o755)
	}
	if errors.Is(err, os.ErrExist) {
		return nil // if it is no folder, the rename will say so
	}
	return err
}

// Close implements blob.Batch.
func (b *batch) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	remove(b.waiting)
	b.waiting = nil
	if b.flusher == nil {
		return nil
	}
	err := b.flusher.Close()
	b.flusher = nil
	return err
}

func remove(all []waiting) {
	for _, w := range all {
		_ = os.Remove(w.temp)
	}
}
