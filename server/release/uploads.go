package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"

	"github.com/oklog/ulid/v2"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/store"
)

// syncEvery is how many bytes of an upload may be lost to a power cut: after each the file is synced and the document
// says so.
const syncEvery = 8 << 20

// OffsetError says that bytes were sent for the wrong place of an upload. It matches ErrConflict.
type OffsetError struct{ Sent, Want int64 }

func (e *OffsetError) Error() string {
	return fmt.Sprintf("the bytes begin at %d but the upload is at %d; go on from there", e.Sent, e.Want)
}

// Is makes the error match ErrConflict.
func (e *OffsetError) Is(target error) bool { return target == ErrConflict }

// CreateUpload begins an upload of size bytes.
func (r *Releases) CreateUpload(ctx context.Context, name string, size int64, by string) (Upload, error) {
	if size <= 0 {
		return Upload{}, fmt.Errorf("the image is empty; choose a file with something in it: %w", ErrInvalid)
	}
	if size > r.MaxImage {
		return Upload{}, fmt.Errorf("an image of %d bytes, this server takes up to %d: %w", size, r.MaxImage, firmware.ErrTooLarge)
	}
	now := r.Now().UTC()
	u := Upload{ID: ulid.Make().String(), Name: name, Size: size, CreatedAt: now, TouchedAt: now, CreatedBy: by}
	f, err := os.OpenFile(r.uploadFile(u.ID), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return Upload{}, fmt.Errorf("begin upload: %w", err)
	}
	if err := errors.Join(f.Close(), atomicfile.SyncDir(r.Uploads)); err != nil {
		return Upload{}, fmt.Errorf("begin upload: %w", err)
	}
	_, err = r.uploads.Create(ctx, u.ID, u)
	return u, err
}

// Upload returns how far an upload is.
func (r *Releases) Upload(ctx context.Context, id string) (Upload, error) {
	e, err := r.uploads.Get(ctx, id)
	return e.Value, err
}

// DeleteUpload drops an upload, unless a release is being built from it.
func (r *Releases) DeleteUpload(ctx context.Context, id string) error {
	if _, err := r.uploads.Get(ctx, id); err != nil {
		return err
	}
	used, err := r.isUsed(ctx, id)
	if err != nil {
		return err
	}
	if used {
		return fmt.Errorf("upload %s: a release is being built from it: %w", id, ErrConflict)
	}
	return r.dropUpload(ctx, id)
}

func (r *Releases) dropUpload(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	if err := r.uploads.Delete(ctx, id); err != nil {
		return err
	}
	if err := os.Remove(r.uploadFile(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Append writes bytes at offset, which must be where the upload is; the error is an *OffsetError otherwise. What arrived
// before the body broke is kept: the answer to Upload says from where to go on.
func (r *Releases) Append(ctx context.Context, id string, offset int64, body io.Reader) (Upload, error) {
	e, err := r.uploads.Get(ctx, id)
	if err != nil {
		return Upload{}, err
	}
	if !r.writing.lock(id) {
		return e.Value, fmt.Errorf("upload %s: another request is sending to it; wait for it to end: %w", id, ErrConflict)
	}
	defer r.writing.unlock(id)
	if e, err = r.uploads.Get(ctx, id); err != nil { // it may have moved before the lock
		return Upload{}, err
	}
	u := e.Value
	if offset != u.Offset {
		return u, &OffsetError{Sent: offset, Want: u.Offset}
	}
	f, err := os.OpenFile(r.uploadFile(id), os.O_WRONLY, 0)
	if err != nil {
		return u, fmt.Errorf("upload %s: %w", id, err)
	}
	defer f.Close()
	if err := f.Truncate(u.Offset); err != nil { // what came after the last sync is not trusted
		return u, fmt.Errorf("upload %s: %w", id, err)
	}
	if _, err := f.Seek(u.Offset, io.SeekStart); err != nil {
		return u, fmt.Errorf("upload %s: %w", id, err)
	}
	return r.receive(context.WithoutCancel(ctx), f, u, body)
}

// receive copies the body in steps that are made durable one by one.
func (r *Releases) receive(ctx context.Context, f *os.File, u Upload, body io.Reader) (Upload, error) {
	for {
		n, err := io.CopyN(f, body, min(syncEvery, u.Size-u.Offset))
		ended := errors.Is(err, io.EOF)
		if n > 0 {
			if serr := f.Sync(); serr != nil {
				return u, fmt.Errorf("upload %s: %w", u.ID, serr)
			}
			e, uerr := r.uploads.Update(ctx, u.ID, func(d *Upload) error {
				d.Offset, d.TouchedAt = u.Offset+n, r.Now().UTC()
				return nil
			})
			if uerr != nil {
				return u, uerr
			}
			u = e.Value
		}
		switch {
		case err != nil && !ended:
			return u, fmt.Errorf("upload %s stopped at %d of %d bytes (%w); go on from there: %w", u.ID, u.Offset, u.Size, err, ErrInvalid)
		case u.Offset == u.Size:
			if n, _ := body.Read(make([]byte, 1)); n > 0 {
				return u, fmt.Errorf("upload %s: more bytes than the %d that it was begun with: %w", u.ID, u.Size, firmware.ErrTooLarge)
			}
			return u, nil
		case ended:
			return u, nil
		}
	}
}

// openUpload returns the file of a complete upload.
func (r *Releases) openUpload(ctx context.Context, id string) (*os.File, Upload, error) {
	e, err := r.uploads.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, Upload{}, fmt.Errorf("upload %s is not here, it may have expired; upload the image again: %w", id, store.ErrNotFound)
	}
	if err != nil {
		return nil, Upload{}, err
	}
	if u := e.Value; u.Offset != u.Size {
		return nil, u, fmt.Errorf("upload %s has %d of %d bytes; send the rest first: %w", id, u.Offset, u.Size, ErrConflict)
	}
	f, err := os.Open(r.uploadFile(id))
	return f, e.Value, err
}

func (r *Releases) uploadFile(id string) string { return filepath.Join(r.Uploads, filepath.Base(id)) }

// locks are named locks that are never waited for.
type locks struct {
	mu   sync.Mutex
	held map[string]bool
}

func (l *locks) lock(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[name] {
		return false
	}
	if l.held == nil {
		l.held = map[string]bool{}
	}
	l.held[name] = true
	return true
}

func (l *locks) unlock(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, name)
}
