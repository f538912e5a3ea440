package chunker

import (
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"
)

// What lseek takes on Linux to find the next data and the end of it. Package syscall does not name them.
const seekData = 3

// holes tells where a sparse file has nothing. Asking is cheap beside reading: one system call for each read-ahead.
type holes struct{ f *os.File }

// holesOf returns nil when r is no regular file on a system that can tell.
func holesOf(r io.Reader) *holes {
	f, ok := r.(*os.File)
	if !ok || runtime.GOOS != "linux" {
		return nil
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return &holes{f}
}

// skip moves over as many whole runs of size zero bytes as a hole holds here. The last had zero bytes were read already
// and count. It returns how many runs it skipped; the file then stands behind them.
func (h *holes) skip(had, size int) (int, error) {
	at, err := h.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	data, err := h.f.Seek(at, seekData)
	switch {
	case errors.Is(err, syscall.ENXIO): // nothing but a hole to the end
		data, err = h.f.Seek(0, io.SeekEnd)
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EOPNOTSUPP): // a file system that cannot tell
		data, err = at, nil
	}
	if err != nil {
		return 0, err
	}
	n := max(0, int((data-at+int64(had))/int64(size)))
	if n > 0 {
		at += int64(n)*int64(size) - int64(had)
	}
	_, err = h.f.Seek(at, io.SeekStart)
	return n, err
}
