package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"

	"github.com/waxwing-ota/waxwing/firmware"
)

// RepoPrefix is where the static repository lies in the blob store.
const RepoPrefix = "repo/"

// MissingChunks returns those of the ids that the repository lacks, in their order.
func (r *Releases) MissingChunks(ctx context.Context, ids []firmware.ChunkID) ([]firmware.ChunkID, error) {
	missing := []firmware.ChunkID{}
	for _, id := range ids {
		_, err := r.chunks.Size(ctx, id)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, id)
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// PutChunk stores a frame whose plain bytes have the digest id. The error matches firmware.ErrCorrupt or ErrTooLarge.
func (r *Releases) PutChunk(ctx context.Context, id firmware.ChunkID, frame io.Reader) error {
	b, err := readCapped(frame, firmware.MaxFrameSize)
	if err != nil {
		return fmt.Errorf("chunk %s: %w", id, err)
	}
	if _, err := firmware.DecodeChunk(b, id, 0); err != nil {
		return err
	}
	if _, err := r.chunks.Size(ctx, id); err == nil {
		return nil
	}
	return r.chunks.Put(ctx, id, b)
}

// PutIndex keeps a .caibx with this digest until a release names it, or for a day.
func (r *Releases) PutIndex(_ context.Context, sum firmware.Digest, index io.Reader) error {
	b, err := readCapped(index, firmware.MaxIndexSize)
	if err != nil {
		return fmt.Errorf("index %s: %w", sum, err)
	}
	if firmware.Sum(b) != sum {
		return fmt.Errorf("index %s: the bytes have another digest, %s: %w", sum, firmware.Sum(b), firmware.ErrCorrupt)
	}
	if _, err := firmware.ParseIndex(b); err != nil {
		return err
	}
	return atomicfile.Write(r.indexFile(sum), b, 0o600)
}

func (r *Releases) indexFile(sum firmware.Digest) string {
	return filepath.Join(r.Uploads, "index-"+sum.String()+".caibx")
}

// handedIn returns an index that PutIndex kept, parsed and as it was sent.
func (r *Releases) handedIn(c firmware.Component) (*firmware.Index, []byte, error) {
	b, err := os.ReadFile(r.indexFile(c.Index.SHA256))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("component %s: its index %s is not here; send it first (PUT /indexes/…): %w",
			c.Name, c.Index.SHA256, ErrConflict)
	}
	if err != nil {
		return nil, nil, err
	}
	x, err := firmware.ParseIndex(b)
	if err != nil {
		return nil, nil, err
	}
	if int64(len(b)) != c.Index.Size || x.Size() != c.Size {
		return nil, nil, fmt.Errorf("component %s: its index has %d bytes and describes %d; the release says %d and %d: %w",
			c.Name, len(b), x.Size(), c.Index.Size, c.Size, ErrInvalid)
	}
	return x, b, nil
}

func readCapped(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("over %d bytes: %w", limit, firmware.ErrTooLarge)
	}
	return b, err
}
