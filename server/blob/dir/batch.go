package dir

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/waxwing-ota/waxwing/server/blob"
)

// waitingPrefix begins the names of files that wait for a commit.
const waitingPrefix = ".put-"

// batch is a blob.Batch: blobs wait under temporary names, each in the folder that it will be in.
//
// Commit flushes the file system once, which makes the bytes of all of them durable, then renames each to its place, then
// flushes once more for the names. So nothing has its name before its bytes are safe, as with Put. A release of 5000
// chunks costs two flushes instead of 15,000.
//
// They do not wait in .tmp as those of Put do: thousands of files made in one folder by several goroutines make the kernel
// take its lock in turns and look for free inodes in one place; that can cost as much as compressing them. What waits is
// listed in .tmp/batch-…, so that the next Open finds what a crash has left without looking everywhere. A list that a
// power cut has torn leaves a file that nobody sees.
type batch struct {
	s *Store

	mu      sync.Mutex
	waiting []waiting
	flusher *flusher // opened before anything is written, so that it hears of every error from then on
	list    *os.File
	n       int
}

type waiting struct{ temp, path string }

var _ blob.Batcher = (*Store)(nil)

// Batch implements blob.Batcher.
func (s *Store) Batch() blob.Batch { return &batch{s: s} }

// Put implements blob.Batch.
func (b *batch) Put(ctx context.Context, key string, r io.Reader, size int64) (err error) {
	path, err := b.s.path(ctx, key)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("store %s: %w", key, err)
		}
	}()
	temp, err := b.name(filepath.Dir(path))
	if err != nil {
		return err
	}
	f, err := create(temp)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(ctx, f, r, size), f.Close()); err != nil {
		_ = os.Remove(temp)
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, waiting{temp, path})
	return nil
}

// name returns a name in a folder that nobody has, listed for the next Open.
func (b *batch) name(folder string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flusher == nil {
		f, err := newFlusher(b.s.root)
		if err != nil {
			return "", err
		}
		if b.list, err = os.CreateTemp(filepath.Join(b.s.root, temporary), "batch-"); err != nil {
			return "", errors.Join(err, f.Close())
		}
		b.flusher = f
	}
	b.n++
	_, unique, _ := strings.Cut(filepath.Base(b.list.Name()), "-")
	temp := filepath.Join(folder, fmt.Sprintf("%s%s-%d", waitingPrefix, unique, b.n))
	rel, err := filepath.Rel(b.s.root, temp)
	if err != nil {
		return "", err
	}
	_, err = b.list.WriteString(rel + "\n")
	return temp, err
}

// create makes a file, and its folder, which is durable after the next flush.
func create(path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(path, flags, 0o644)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	folder := filepath.Dir(path)
	if err := os.Mkdir(folder, 0o755); err != nil { // mostly its parent is there
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, flags, 0o644)
}

// sweep removes what the batches of a process that was killed have left.
func sweep(root string) error {
	lists, err := filepath.Glob(filepath.Join(root, temporary, "batch-*"))
	if err != nil {
		return err
	}
	for _, list := range lists {
		if err := sweepOne(root, list); err != nil {
			return err
		}
	}
	return nil
}

func sweepOne(root, list string) error {
	f, err := os.Open(list)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// Only what a batch can have made: a damaged list removes nothing else.
		rel := lines.Text()
		if !filepath.IsLocal(rel) || !strings.HasPrefix(filepath.Base(rel), waitingPrefix) {
			continue
		}
		if err := absent(os.Remove(filepath.Join(root, rel))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := lines.Err(); !errors.Is(err, bufio.ErrTooLong) { // which is no line of ours
		return err
	}
	return nil
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
	for _, w := range all { // quick, as each stays in its folder
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := os.Rename(w.temp, w.path); err != nil {
			return err
		}
	}
	return flusher.names(all)
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
	err := errors.Join(b.flusher.Close(), b.list.Close(), os.Remove(b.list.Name()))
	b.flusher, b.list = nil, nil
	return err
}

func remove(all []waiting) {
	for _, w := range all {
		_ = os.Remove(w.temp)
	}
}
