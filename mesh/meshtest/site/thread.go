package site

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrClosed says that the site is gone.
var ErrClosed = errors.New("the site is closed")

// thread is one thread of the operating system that visits namespaces. Programs that it starts are killed when it ends, as
// that is what the kernel takes for their parent; therefore there is one for the whole life of a site.
type thread struct {
	calls chan func()
	over  chan struct{} // closed by end
	ended chan struct{} // closed when it has
	once  sync.Once

	mu      sync.Mutex
	started []*os.Process
}

func newThread() *thread {
	t := &thread{calls: make(chan func()), over: make(chan struct{}), ended: make(chan struct{})}
	go t.run()
	return t
}

func (t *thread) run() {
	defer close(t.ended)
	runtime.LockOSThread() // and never unlocked: the thread ends with this function
	for {
		select {
		case call := <-t.calls:
			call()
		case <-t.over:
			return
		}
	}
}

// do runs f on the thread.
func (t *thread) do(f func() error) error {
	result := make(chan error, 1)
	select {
	case t.calls <- func() { result <- f() }:
		return <-result
	case <-t.ended:
		return ErrClosed
	}
}

// start starts a program in a namespace.
func (t *thread) start(ns *os.File, cmd *exec.Cmd) error {
	return t.within(ns, func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.started = append(t.started, cmd.Process)
		return nil
	})
}

// end ends the thread, and what it has started. The kernel would do that, but not for the first thread of a process, which
// this one may be: it stays until the process ends.
func (t *thread) end() {
	t.once.Do(func() { close(t.over) })
	<-t.ended
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.started {
		_ = p.Kill() // it has ended, mostly
	}
	t.started = nil
}

// within runs f on the thread, in a namespace.
func (t *thread) within(ns *os.File, f func() error) error {
	return t.do(func() error {
		home, err := current()
		if err != nil {
			return err
		}
		defer home.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		err = f()
		return errors.Join(err, unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
	})
}

// make returns a new namespace. It lives as long as the file is open or a process is in it.
func (t *thread) make() (ns *os.File, err error) {
	err = t.do(func() error {
		home, err := current()
		if err != nil {
			return err
		}
		defer home.Close()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		ns, err = current()
		return errors.Join(err, unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
	})
	return ns, err
}

// current opens the namespace of the calling thread.
func current() (*os.File, error) { return os.Open("/proc/thread-self/ns/net") }
