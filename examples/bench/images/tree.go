package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
)

// identity is the UUID and the hash seed of every image: two should differ by their content only.
const identity = "6d7b1f3e-3f4c-4b1e-9b52-8a4f6f1f5e10"

// stamp is the time of everything in an image.
var stamp = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// unpack lays packages out in a folder, without what a device does not carry.
func unpack(ctx context.Context, files []string, tree string) error {
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		if _, err := child.Run(ctx, "dpkg-deb", "--extract", file, tree); err != nil {
			return err
		}
	}
	for _, dir := range []string{"doc", "man", "info", "lintian"} {
		if err := os.RemoveAll(filepath.Join(tree, "usr/share", dir)); err != nil {
			return err
		}
	}
	return nil
}

// settle gives everything in a tree one time, links too.
func settle(tree string) error {
	at := unix.NsecToTimespec(stamp.UnixNano())
	return filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// Ext4 makes an image of a tree, all of whose times it changes.
func Ext4(ctx context.Context, tree, image string, mib int) error {
	if err := settle(tree); err != nil {
		return err
	}
	_, _, err := child.In(ctx, "", fakeTime(), "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^has_journal",
		"-U", identity, "-E", "hash_seed="+identity+",root_owner=0:0,lazy_itable_init=0", "-d", tree, image, fmt.Sprint(mib, "M"))
	if err != nil {
		return err
	}
	return sameTimes(ctx, image)
}

// sameTimes sets the times of the last change and the last access of each inode. mke2fs copies them from the tree, where
// nobody can choose the one, and reading changes the other.
func sameTimes(ctx context.Context, image string) error {
	out, _, err := child.Output(ctx, "dumpe2fs", "-h", image)
	if err != nil {
		return err
	}
	count, free := field(out, "Inode count:"), field(out, "Free inodes:")
	if count == 0 || free == 0 {
		return fmt.Errorf("dumpe2fs %s: no numbers of inodes", image)
	}
	var script strings.Builder
	for inode := 1; inode <= count-free; inode++ { // a new image numbers them in a row
		for _, field := range []string{"ctime", "atime"} {
			fmt.Fprintf(&script, "set_inode_field <%d> %s @%d\nset_inode_field <%d> %s_extra 0\n", inode, field, stamp.Unix(), inode, field)
		}
	}
	commands := image + ".debugfs"
	if err := os.WriteFile(commands, []byte(script.String()), 0o644); err != nil {
		return err
	}
	_, _, err = child.In(ctx, "", fakeTime(), "debugfs", "-w", "-f", commands, image)
	return errors.Join(err, os.Remove(commands))
}

// field returns a number that stands behind a word, or 0.
func field(out []byte, word string) int {
	for line := range strings.Lines(string(out)) {
		if value, ok := strings.CutPrefix(line, word); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(value)) // 0 says as much
			return n
		}
	}
	return 0
}

func fakeTime() []string {
	return []string{fmt.Sprint("E2FSPROGS_FAKE_TIME=", stamp.Unix()), fmt.Sprint("SOURCE_DATE_EPOCH=", stamp.Unix())}
}

// squash makes a squashfs image of a tree.
func squash(ctx context.Context, tree, image string) error {
	if err := settle(tree); err != nil {
		return err
	}
	when := fmt.Sprint(stamp.Unix())
	_, err := child.Run(ctx, "mksquashfs", tree, image, "-comp", "zstd", "-b", "128K", "-reproducible", "-no-xattrs", "-all-root",
		"-noappend", "-no-progress", "-quiet", "-mkfs-time", when, "-all-time", when)
	return err
}
