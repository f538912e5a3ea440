package dir

import (
	"os"

	"golang.org/x/sys/unix"
)

// flushFileSystem waits until everything that was written to the file system of f is on the medium. An error of any
// write-back since f was opened is returned (Linux 5.8 and later).
func flushFileSystem(f *os.File) error {
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}
