package site

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	network "github.com/waxwing-ota/waxwing/mesh/meshtest/site"
)

// program is a program that runs in a namespace. Its words go to a file.
type program struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, then
}

// start starts a program; name.log in a folder takes its words.
func start(at *network.Namespace, logs, name string, cmd *exec.Cmd) (*program, error) {
	log, err := os.OpenFile(filepath.Join(logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the program has its own
	cmd.Stdout, cmd.Stderr = log, log
	if err := at.Start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &program{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the program as a power cut would.
func (p *program) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stopAll asks programs to end, all at once, and kills those that do not.
func stopAll(all []*program) error {
	for _, p := range all {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	late := time.NewTimer(15 * time.Second)
	defer late.Stop()
	var errs []error
	for _, p := range all {
		select {
		case <-p.done:
			continue
		case <-late.C:
			late.Reset(0) // for the others too
		}
		p.kill()
		errs = append(errs, fmt.Errorf("%s did not end when asked", p.name))
	}
	return errors.Join(errs...)
}

// memory is where files lie in memory on most systems.
const memory = "/dev/shm"

// folder is a folder that is removed when this process ends, however it does: a shell in a session of its own waits for
// the other end of its pipe to be closed, which the kernel does at the latest.
type folder struct {
	path string
	pipe io.WriteCloser
	cmd  *exec.Cmd
}

// newFolder makes a folder in another one; empty: in memory, if so many bytes fit there, else where temporary files go.
func newFolder(in string, need int64) (*folder, error) {
	var shm unix.Statfs_t
	if in == "" && unix.Statfs(memory, &shm) == nil && int64(shm.Bavail)*shm.Bsize >= need {
		in = memory
	}
	path, err := os.MkdirTemp(in, "waxwing-site-")
	if err != nil {
		return nil, err
	}
	// Programs that are being killed may still write while their folder is removed.
	f := &folder{path: path, cmd: exec.Command( //nolint:noctx // remove ends it
		"sh", "-c", `cat >/dev/null; rm -rf -- "$1" 2>/dev/null || { sleep 1; rm -rf -- "$1"; }`, "sh", path)}
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if f.pipe, err = f.cmd.StdinPipe(); err == nil {
		err = f.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return f, nil
}

func (f *folder) remove() error {
	_ = f.pipe.Close()
	if err := f.cmd.Wait(); err != nil {
		return fmt.Errorf("remove %s: %w", f.path, err)
	}
	return nil
}
