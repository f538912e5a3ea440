package assemble

import (
	"errors"
	"os"
	"runtime"
	"syscall"
)

// Sparse is a Target that can tell where nothing was ever written, so that it reads as zeros.
type Sparse interface {
	Target
	// Hollow reports whether n bytes from off on are known to be a hole.
	Hollow(off, n int64) bool
}

// File is a file as a Target. On Linux it knows its holes.
type File struct{ *os.File }

// Hollow implements Sparse. It asks for the next data (lseek(2), SEEK_DATA), which changes nothing for ReadAt and WriteAt.
func (f File) Hollow(off, n int64) bool {
	const seekData = 3
	if runtime.GOOS != "linux" {
		return false
	}
	at, err := f.Seek(off, seekData)
	return errors.Is(err, syscall.ENXIO) || err == nil && at >= off+n
}

// hollow reports whether the target has a hole there.
func (a *Assembly) hollow(off int64, n int) bool {
	s, ok := a.o.Target.(Sparse)
	return ok && s.Hollow(off, int64(n))
}
