package build

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/blob"
)

// Store is the chunks of a static repository that lies in a blob store. It implements Chunks.
type Store struct {
	Blob   blob.Store
	Prefix string // of the repository: "repo/", or nothing when the store is the repository
}

func (s Store) key(id firmware.ChunkID) string { return s.Prefix + "chunks/" + firmware.ChunkPath(id) }

// Size implements Chunks.
func (s Store) Size(ctx context.Context, id firmware.ChunkID) (int64, error) {
	return s.Blob.Stat(ctx, s.key(id))
}

// Put implements Chunks.
func (s Store) Put(ctx context.Context, id firmware.ChunkID, frame []byte) error {
	return s.Blob.Put(ctx, s.key(id), bytes.NewReader(frame), int64(len(frame)))
}

// Batch implements Batcher.
func (s Store) Batch() Batch { return batch{s, blob.NewBatch(s.Blob)} }

type batch struct {
	Store
	blobs blob.Batch
}

// Put implements Batch.
func (b batch) Put(ctx context.Context, id firmware.ChunkID, frame []byte) error {
	return b.blobs.Put(ctx, b.key(id), bytes.NewReader(frame), int64(len(frame)))
}

// Commit implements Batch.
func (b batch) Commit(ctx context.Context) error { return b.blobs.Commit(ctx) }

// Close implements Batch.
func (b batch) Close() error { return b.blobs.Close() }

// batchOf returns a batch of any store of chunks: its own, or one that puts at once.
func batchOf(c Chunks) Batch {
	if b, ok := c.(Batcher); ok {
		return b.Batch()
	}
	return atOnce{c}
}

type atOnce struct{ Chunks }

// Commit implements Batch: every Put was durable when it returned.
func (atOnce) Commit(context.Context) error { return nil }

// Close implements Batch.
func (atOnce) Close() error { return nil }

// Frame reads a chunk as it is stored; the error matches fs.ErrNotExist.
func (s Store) Frame(ctx context.Context, id firmware.ChunkID) ([]byte, error) {
	return Read(ctx, s.Blob, s.key(id), firmware.MaxFrameSize)
}

// Read returns a whole blob of at most limit bytes; a larger one is an error that matches firmware.ErrTooLarge.
func Read(ctx context.Context, b blob.Store, key string, limit int64) ([]byte, error) {
	f, err := b.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes, over %d: %w", key, f.Size(), limit, firmware.ErrTooLarge)
	}
	content := make([]byte, f.Size())
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return content, nil
}
