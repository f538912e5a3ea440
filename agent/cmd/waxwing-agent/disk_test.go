package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/cross/needs"
)

// disk is a small one with a file system of its own.
type disk struct {
	t   *testing.T
	dir string
}

func newDisk(t *testing.T) disk {
	t.Helper()
	needs.Root(t, "small disks")
	d := disk{t, t.TempDir()}
	if err := unix.Mount("small", d.dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A device keeps some files open until its process ends, which is this one.
		if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

// room leaves so many bytes free.
func (d disk) room(free int64) {
	var now unix.Statfs_t
	err := unix.Statfs(d.dir, &now)
	if err == nil {
		size := int64(now.Blocks-now.Bfree)*int64(now.Bsize) + free //nolint:unconvert // 32 bits wide on 32-bit machines
		err = unix.Mount("small", d.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprint("size=", size))
	}
	if err != nil {
		d.t.Error(err)
	}
}

// TestDiskFills lets a disk fill in the middle of an update: of the slots, or of the state. The device says what is wrong, and
// goes on from where it was once there is room. What it keeps of patches for neighbours never takes the room that it needs
// itself.
func TestDiskFills(t *testing.T) {
	image := make([]byte, 0, 6<<20)
	r := rand.New(rand.NewPCG(5, 6))
	for len(image) < 6<<20 {
		image = fmt.Appendf(image, "%x symbol_%d\n", r.Uint64(), r.IntN(1000))
	}
	for name, slots := range map[string]bool{"of the slots": true, "of the state": false} {
		t.Run(name, func(t *testing.T) {
			cloud, small := agenttest.NewCloud(t), newDisk(t)
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			cloud.Member("d-1", "all")
			state, other := small.dir, t.TempDir()
			if slots {
				state, other = other, small.dir
			}
			c, err := agent.Enroll(ctx, agent.Enrollment{
				Server: cloud.URL, Token: cloud.CA.Token(), Dir: state, ID: "d-1", Hardware: "qemu-arm64", Virtual: true, SlotSize: 8 << 20,
			})
			if err != nil {
				t.Fatal(err)
			}
			c.PollSeconds = 1
			for slot, file := range c.Slots {
				to := filepath.Join(other, filepath.Base(file))
				if err := errors.Join(os.WriteFile(to, nil, 0o600), os.Truncate(to, 8<<20), os.Remove(c.Path(file))); err != nil {
					t.Fatal(err)
				}
				c.Slots[slot] = to
			}
			if err := c.Save(state); err != nil {
				t.Fatal(err)
			}
			var chunks atomic.Int32
			cloud.Gate(func(path string) {
				if strings.HasPrefix(path, "chunks/") && chunks.Add(1) == 20 {
					small.room(0)
				}
			})
			full := make(chan string, 1)
			says := func(what string) {
				select {
				case full <- what:
				default:
				}
			}
			wg.Go(func() {
				for ctx.Err() == nil {
					if err := life(ctx, t, filepath.Join(state, agent.ConfigFile)); err != nil && !errors.Is(err, agent.ErrReboot) {
						if !errors.Is(err, unix.ENOSPC) {
							t.Error(err)
							return
						}
						says(err.Error()) // the service manager starts it again
						select {
						case <-ctx.Done():
						case <-time.After(50 * time.Millisecond):
						}
					}
				}
			})
			cloud.Wish(cloud.Publish("1.0.0", 1, "qemu-arm64", bytes.Clone(image)), nil)
			if slots {
				r := cloud.Await("what is wrong", func(r protocol.Report) bool {
					return r.Update != nil && strings.Contains(r.Update.Detail, "no space left")
				})
				says(r.Update.Detail)
			}
			select {
			case what := <-full:
				t.Log(what)
			case <-time.After(30 * time.Second):
				t.Fatal("it does not say that the disk is full")
			}
			small.room(32 << 20)
			committed := func(version string) protocol.Bytes {
				return cloud.Await(version, func(r protocol.Report) bool {
					return r.Update != nil && r.Update.Version == version && r.Update.Phase == protocol.Committed
				}).Update.Bytes
			}
			committed("1.0.0")
			if all, distinct := cloud.Chunks(), cloud.Distinct(); all > distinct+distinct/4 {
				t.Errorf("%d chunks were fetched of %d: it began anew", all, distinct)
			}
			if got, err := os.ReadFile(c.Slots["b"]); err != nil || !bytes.Equal(got[:len(image)], image) {
				t.Error("the slot holds something else:", err)
			}

			next := bytes.Clone(image)
			for at := 100; at < len(next); at += 20 << 10 {
				copy(next[at:], "anew")
			}
			release := cloud.Publish("1.1.0", 2, "qemu-arm64", next)
			cloud.Pack(image, next)
			if !slots {
				small.room(128 << 10)
			}
			cloud.Wish(release, nil)
			committed("1.1.0")
			if kept, err := os.Stat(filepath.Join(state, "patches")); err == nil && !slots && kept.Size() > 16<<10 {
				t.Errorf("%d bytes of patches are kept where there is no room", kept.Size())
			}
		})
	}
}
