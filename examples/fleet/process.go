package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program of the fleet. Its words go to a file; it ends with stop, or at the latest with this process.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{} // closed when it has ended
	err  error         // how, then
}

func (f *Fleet) start(name, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(f.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(f.o.Bin, program), args...) //nolint:noctx // stop ends it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	p := &process{name: name, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		_ = log.Close()
		close(p.done)
	}()
	return p, nil
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stop asks the process to end and, when it does not, kills it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(15 * time.Second):
		p.kill()
		return fmt.Errorf("%s did not end when asked", p.name)
	}
}

// rss returns the memory that the process holds, in bytes.
func (p *process) rss() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// lastWords prints the end of every log.
func (f *Fleet) lastWords(w io.Writer) {
	logs, _ := filepath.Glob(filepath.Join(f.dir, "*.log")) // the pattern is well-formed
	for _, log := range logs {
		b, err := os.ReadFile(log)
		if err != nil {
			continue
		}
		fmt.Fprintf(w, "\n── %s\n%s", filepath.Base(log), b[max(len(b)-4<<10, 0):])
	}
}

// run runs the waxwing command as a person would, shows it, and returns what it printed for programs.
func (f *Fleet) run(ctx context.Context, args ...string) (string, error) {
	fmt.Fprintf(f.o.Out, "\n$ waxwing %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, filepath.Join(f.o.Bin, "waxwing"), args...)
	cmd.Env = append(os.Environ(), "WAXWING_SERVER="+f.URL, "WAXWING_TOKEN="+f.Token, "XDG_CONFIG_HOME="+f.dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, f.o.Out
	err := cmd.Run()
	fmt.Fprint(f.o.Out, out.String())
	return out.String(), err
}

// await polls a condition until it holds.
func await(ctx context.Context, what string, most time.Duration, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var last error
	for {
		ok, err := holds()
		if ok {
			return nil
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: not within %s", what, most), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
