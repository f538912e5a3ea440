//go:build !linux

package dir

import (
	"errors"
	"os"
)

func flushFileSystem(*os.File) error { return errors.ErrUnsupported }
