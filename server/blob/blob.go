// Package blob keeps bytes under names: chunks, signed metadata, uploads. [Store] is the seam that a folder (blob/dir), a
// bucket or anything else implements; blobtest is its conformance suite.
//
//	s, err := dir.Open(path)
//	err = s.Put(ctx, "repo/chunks/1a2b/1a2b….cacnk", bytes.NewReader(frame), int64(len(frame)))
//	b, err := s.Get(ctx, "repo/metadata/timestamp.json")     // io.ReadSeekCloser, so ranges cost what they return
//
// Whoever puts thousands at once, such as the chunks of a release, takes [NewBatch]: durability then costs once for all.
//
// A key is a path of plain names joined by "/" ([CheckKey]). What is under "repo/" is the static repository of the
// design and may be served as it is. [Files] shows a part of a store to signing/repository.
package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Store keeps blobs. Implementations are safe for concurrent use. Errors match fs.ErrNotExist when there is no such blob
// and fs.ErrInvalid for a bad key.
type Store interface {
	// Get opens a blob. The caller closes it.
	Get(ctx context.Context, key string) (Blob, error)
	// Put stores size bytes of r under key, whatever was there. When it returns without an error the blob is durable;
	// at every moment a reader sees the old blob or the whole new one. A size of other than what r holds is an error,
	// and then nothing has changed. Content-addressed blobs need no second Put: ask Stat first.
	Put(ctx context.Context, key string, r io.Reader, size int64) error
	// Stat returns the size of a blob in bytes.
	Stat(ctx context.Context, key string) (int64, error)
	// List calls each with the keys that begin with prefix and their sizes, in no order. An error from each ends it.
	List(ctx context.Context, prefix string, each func(key string, size int64) error) error
	// Delete removes a blob; it is no error when there is none.
	Delete(ctx context.Context, key string) error
}

// Blob is an open blob.
type Blob interface {
	io.ReadSeekCloser
	Size() int64 // bytes
}

// maxKey bounds a key, in bytes.
const maxKey = 512

// ErrSize says that a reader held more or fewer bytes than announced.
var ErrSize = errors.New("the content is not as long as announced")

// CheckKey refuses keys that are not names joined by "/": no empty part, none that begins with a dot, no characters but
// a-z A-Z 0-9 . _ + - in a part. So a key can never leave the folder or prefix that it is below.
func CheckKey(key string) error {
	bad := func(why string) error {
		return &fs.PathError{Op: "blob", Path: key, Err: fmt.Errorf("%s: %w", why, fs.ErrInvalid)}
	}
	if key == "" || len(key) > maxKey {
		return bad("a key has 1 to 512 characters")
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part[0] == '.' {
			return bad("a part of a key is empty or begins with a dot")
		}
		for _, c := range []byte(part) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._+-", c) >= 0) {
				return bad(fmt.Sprintf("%q is not allowed in a key", c))
			}
		}
	}
	return nil
}

// Files shows the blobs below a prefix as whole small files.
type Files struct {
	Store  Store
	Prefix string // "repo/"
	Limit  int64  // of one file, bytes; 0: 64 MiB
}

// Get reads a file; the error matches fs.ErrNotExist.
func (f Files) Get(ctx context.Context, path string) (b []byte, err error) {
	o, err := f.Store.Get(ctx, f.Prefix+path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	limit := f.Limit
	if limit == 0 {
		limit = 64 << 20
	}
	if o.Size() > limit {
		return nil, fmt.Errorf("%s%s has %d bytes, over %d", f.Prefix, path, o.Size(), limit)
	}
	b = make([]byte, o.Size())
	if _, err := io.ReadFull(o, b); err != nil {
		return nil, fmt.Errorf("read %s%s: %w", f.Prefix, path, err)
	}
	return b, nil
}

// Put writes a file.
func (f Files) Put(ctx context.Context, path string, b []byte) error {
	return f.Store.Put(ctx, f.Prefix+path, bytes.NewReader(b), int64(len(b)))
}

// Exclusive is a Store that can put what must not be there yet, however many processes write to it.
type Exclusive interface {
	// PutNew is Put for a new key; when there is a blob under it the error matches fs.ErrExist, and nothing has changed.
	PutNew(ctx context.Context, key string, r io.Reader, size int64) error
}

// PutNew writes a file that must not be there yet. With a Store that is not Exclusive, one process at a time may.
func (f Files) PutNew(ctx context.Context, path string, b []byte) error {
	if x, ok := f.Store.(Exclusive); ok {
		return x.PutNew(ctx, f.Prefix+path, bytes.NewReader(b), int64(len(b)))
	}
	_, err := f.Store.Stat(ctx, f.Prefix+path)
	if err == nil {
		return &fs.PathError{Op: "put", Path: path, Err: fs.ErrExist}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.Put(ctx, path, b)
}
