package dir

import (
	"errors"
	"os"
	"path/filepath"
)

// flusher makes many files durable.
type flusher struct {
	root *os.File // any file of the file system
	// whole flushes the file system; each flushes one file or folder, where the system cannot do the first.
	whole func(*os.File) error
	each  func(path string) error
}

func newFlusher(root string) (*flusher, error) {
	f, err := os.Open(root)
	return &flusher{root: f, whole: flushFileSystem, each: flushOne}, err
}

// bytes makes what the waiting files hold durable.
func (f *flusher) bytes(all []waiting) error {
	if err := f.whole(f.root); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for _, w := range all {
		if err := f.each(w.temp); err != nil {
			return err
		}
	}
	return nil
}

// names makes the new names durable, and those of the folders above them.
func (f *flusher) names(all []waiting) error {
	if err := f.whole(f.root); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	done := map[string]bool{}
	for _, w := range all {
		for folder := filepath.Dir(w.path); !done[folder]; folder = filepath.Dir(folder) {
			done[folder] = true
			if err := f.each(folder); err != nil {
				return err
			}
			if folder == f.root.Name() {
				break
			}
		}
	}
	return nil
}

// Close ends it.
func (f *flusher) Close() error { return f.root.Close() }

func flushOne(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
