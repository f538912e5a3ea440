// Package dir is a blob.Store in a folder: one file for each blob, its path the key.
//
// A blob is written to "<root>/.tmp", synced, and renamed to its place, so a crash leaves a whole blob or none; what it
// leaves in .tmp is removed at the next Open. No key has a part that begins with a dot.
//
// A rename is durable once the folder that holds the name is synced. Put does that each time: it returns only for blobs
// that a power cut cannot take away, because the next thing its caller does is sign and publish their names. Many
// writers at once share the cost: whoever waits for a folder while another syncs it is served by one more sync, not one
// each. Whoever puts thousands, such as the chunks of a release, uses a Batch, which syncs once for all.
package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/waxwing-ota/waxwing/server/blob"
)

const temporary = ".tmp"

// Store is a folder of blobs.
type Store struct {
	root   string
	synced syncs
}

var (
	_ blob.Store     = (*Store)(nil)
	_ blob.Exclusive = (*Store)(nil)
)

// Open returns the store in a folder, which is made when missing. One process at a time uses it.
func Open(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	temp := filepath.Join(root, temporary)
	if err := errors.Join(sweep(root), os.RemoveAll(temp)); err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	return &Store{root: root}, nil
}

type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

// Get implements blob.Store.
func (s *Store) Get(ctx context.Context, key string) (blob.Blob, error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, absent(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "get", Path: key, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{File: f, size: info.Size()}, nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	return s.put(ctx, key, r, size, os.Rename)
}

// PutNew implements blob.Exclusive: a link fails where a rename would replace.
func (s *Store) PutNew(ctx context.Context, key string, r io.Reader, size int64) error {
	return s.put(ctx, key, r, size, func(from, to string) error {
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	})
}

func (s *Store) put(ctx context.Context, key string, r io.Reader, size int64, place func(from, to string) error) (err error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Join(s.root, temporary), "put-")
	if err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("store %s: %w", key, err)
		}
	}()
	if err := fill(ctx, f, r, size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := s.makeParents(filepath.Dir(path)); err != nil {
		return err
	}
	if err := place(f.Name(), path); err != nil {
		return err
	}
	return s.synced.sync(filepath.Dir(path))
}

// fill writes exactly size bytes of r to a new file.
func fill(ctx context.Context, f *os.File, r io.Reader, size int64) (err error) {
	var n int64
	if b, ok := r.(*bytes.Reader); ok && int64(b.Len()) == size {
		n, err = b.WriteTo(f) // in one piece
	} else { // one byte more than announced is enough to know that there is too much
		n, err = io.Copy(f, io.LimitReader(reader{ctx, r}, size+1))
	}
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("%w: %d bytes announced", blob.ErrSize, size)
	}
	return f.Chmod(0o644)
}

// makeParents makes a folder and those above it durable before anything is put in.
func (s *Store) makeParents(folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	if folder == s.root {
		return os.MkdirAll(folder, 0o755)
	}
	above := filepath.Dir(folder)
	if err := s.makeParents(above); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.synced.sync(above)
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key string) (int64, error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, absent(err)
	}
	if !info.Mode().IsRegular() {
		return 0, &fs.PathError{Op: "stat", Path: key, Err: fs.ErrNotExist}
	}
	return info.Size(), nil
}

// List implements blob.Store. The prefix need not end at a folder.
func (s *Store) List(ctx context.Context, prefix string, each func(string, int64) error) error {
	from := s.root
	if at := strings.LastIndexByte(prefix, '/'); at > 0 {
		if err := blob.CheckKey(prefix[:at]); err != nil {
			return err
		}
		from = filepath.Join(s.root, filepath.FromSlash(prefix[:at]))
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we looked, or the prefix holds nothing
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), waitingPrefix) {
			return nil
		}
		if d.IsDir() {
			if d.Name() == temporary {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(s.root, path)
		if err != nil {
			return err
		}
		key := filepath.ToSlash(rel)
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(key, prefix) {
			return nil
		}
		if err != nil {
			return err
		}
		return each(key, info.Size())
	})
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	path, err := s.path(ctx, key)
	if err != nil {
		return err
	}
	if err := absent(os.Remove(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Store) path(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := blob.CheckKey(key); err != nil {
		return "", err
	}
	return filepath.Join(s.root, filepath.FromSlash(key)), nil
}

// reader stops a long copy when its context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}
