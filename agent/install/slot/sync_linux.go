package slot

import "golang.org/x/sys/unix"

// Sync makes what was written durable and drops it from the page cache, so that the read-back sees the medium. Dropping
// is advice: where it is not followed the read-back still proves the bytes that were written.
func (p *place) Sync() error {
	if err := p.File.Sync(); err != nil {
		return err
	}
	_ = unix.Fadvise(int(p.Fd()), 0, 0, unix.FADV_DONTNEED)
	return nil
}
