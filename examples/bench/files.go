package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
)

// bsdiffFiles sums the patches of the files that changed, each against its namesake, and the new files, compressed. That
// is no update of an image: nothing says how the file system itself changes. But it shows what whole files allow.
func bsdiffFiles(ctx context.Context, u *update) (Method, error) {
	if u.NewTree == "" {
		return Method{}, leftOut("not an image whose files are known")
	}
	if _, err := child.Find("bsdiff"); err != nil {
		return Method{}, err
	}
	var m Method
	var cost child.Cost
	patched, whole := 0, 0
	err := filepath.WalkDir(u.NewTree, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		before, size, err := u.namesake(path)
		if err != nil {
			return err
		}
		if before != "" {
			if equal, err := same(before, path); equal || err != nil {
				return err
			}
		}
		var took child.Cost
		if before == "" || size == 0 || bsdiffMemory(size, info.Size()) > u.tooMuch {
			whole++
			took, err = child.Run(ctx, "zstd", "-q", "-f", "-19", path, "-o", u.path("patch"))
		} else {
			patched++
			took, err = child.Run(ctx, "bsdiff", before, path, u.path("patch"))
		}
		if err != nil {
			return err
		}
		cost = cost.Plus(took)
		made, err := os.Stat(u.path("patch"))
		if err == nil {
			m.Bytes += made.Size()
		}
		return err
	})
	m.Make = &cost
	m.Remark = fmt.Sprintf("contents of %d changed and %d new files only, no image", patched, whole)
	return m, err
}

// namesake returns the file of the old tree that stands where one of the new tree does, or "".
func (u *update) namesake(path string) (string, int64, error) {
	at, err := filepath.Rel(u.NewTree, path)
	if err != nil {
		return "", 0, err
	}
	if len(u.Renames) == 2 {
		at = strings.ReplaceAll(at, u.Renames[1], u.Renames[0])
	}
	before := filepath.Join(u.OldTree, at)
	info, err := os.Lstat(before)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	return before, info.Size(), nil
}
