package dir

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// syncs syncs folders, once for everybody who came while the sync before was under way.
type syncs struct {
	mu     sync.Mutex
	queued map[string]*turn // the sync of a folder that has not begun yet
	busy   map[string]bool
	free   sync.Cond
}

type turn struct {
	done chan struct{}
	err  error
}

func (s *syncs) sync(folder string) error {
	s.mu.Lock()
	if s.queued == nil {
		s.queued, s.busy = map[string]*turn{}, map[string]bool{}
		s.free.L = &s.mu
	}
	if t := s.queued[folder]; t != nil { // it begins after our rename, so it covers us
		s.mu.Unlock()
		<-t.done
		return t.err
	}
	t := &turn{done: make(chan struct{})}
	s.queued[folder] = t
	for s.busy[folder] {
		s.free.Wait()
	}
	delete(s.queued, folder)
	s.busy[folder] = true
	s.mu.Unlock()

	t.err = syncFolder(folder)
	close(t.done)

	s.mu.Lock()
	delete(s.busy, folder)
	s.free.Broadcast()
	s.mu.Unlock()
	return t.err
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// absent makes "a parent is a file" look like "does not exist", which it is for a reader.
func absent(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) && (errors.Is(p.Err, syscall.ENOTDIR) || errors.Is(p.Err, syscall.EISDIR)) {
		return &fs.PathError{Op: p.Op, Path: p.Path, Err: fs.ErrNotExist}
	}
	return err
}
