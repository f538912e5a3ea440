package journal

import (
	"errors"
	"os"
)

// OS is the Files of the operating system.
type OS struct{}

// Read implements Files.
func (OS) Read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit)
}

// WriteSync implements Files. The file is for its owner only.
func (OS) WriteSync(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// Rename implements Files.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir implements Files.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
