package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
	"github.com/waxwing-ota/waxwing/examples/bench/images"
)

// Names of methods that bars speak of.
const (
	fullZstd = "full image, zstd -19"
	casync   = "casync 64K"
	xdelta   = "xdelta3 -9 -S lzma"
	waxwing  = "Waxwing"
)

// update is one upgrade in the hands of the methods.
type update struct {
	images.Pair
	dir      string // for a method's files; empty when it begins
	newSize  int64
	oldSize  int64
	tooMuch  int64 // memory in bytes that no method may need
	programs string
}

// errLeft says why a method is not measured.
type leftOut string

func (l leftOut) Error() string { return string(l) }

// way measures a method.
type way struct {
	name    string
	measure func(context.Context, *update) (Method, error)
}

func ways() []way {
	return []way{
		{fullZstd, zstdFull},
		{"fixed blocks of 4 KiB", fixedBlocks},
		{casync, casyncChunks},
		{xdelta, xdelta3},
		{"zstd -19 --patch-from", zstdPatch},
		{"bsdiff", bsdiff},
		{"bsdiff of each file", bsdiffFiles},
		{waxwing, waxwingCommands},
	}
}

func (u *update) path(name string) string { return filepath.Join(u.dir, name) }

// done checks what a method has rebuilt and fills its row.
func (u *update) done(patch string, made, applied child.Cost) (Method, error) {
	if ok, err := same(u.New, u.path("out")); err != nil {
		return Method{}, err
	} else if !ok {
		return Method{}, fmt.Errorf("what it rebuilt is not the new image")
	}
	m := Method{Make: &made, Apply: &applied}
	if patch != "" {
		info, err := os.Stat(patch)
		if err != nil {
			return Method{}, err
		}
		m.Bytes = info.Size()
	}
	return m, nil
}

func zstdFull(ctx context.Context, u *update) (Method, error) {
	made, err := child.Run(ctx, "zstd", "-q", "-19", "-T0", u.New, "-o", u.path("patch"))
	if err != nil {
		return Method{}, err
	}
	applied, err := child.Run(ctx, "zstd", "-q", "-d", u.path("patch"), "-o", u.path("out"))
	if err != nil {
		return Method{}, err
	}
	return u.done(u.path("patch"), made, applied)
}

func fixedBlocks(ctx context.Context, u *update) (Method, error) {
	out, cost, err := child.Self(ctx, wordBlocks, u.Old, u.New)
	if err != nil {
		return Method{}, err
	}
	var blocks Blocks
	if err := json.Unmarshal(out, &blocks); err != nil {
		return Method{}, err
	}
	return Method{
		Bytes: blocks.Bytes, Make: &cost,
		Remark: fmt.Sprintf("own count: %d new distinct blocks, zstd in groups of 64 KiB, hash list not counted", blocks.New),
	}, nil
}

// casyncChunks counts the chunk files that the new image adds to a store that has the old one, and the new index.
func casyncChunks(ctx context.Context, u *update) (Method, error) {
	store := "--store=" + u.path("store.castr")
	if _, err := child.Run(ctx, "casync", "make", "--digest=sha256", store, u.path("old.caibx"), u.Old); err != nil {
		return Method{}, err
	}
	before, err := weigh(u.path("store.castr"))
	if err != nil {
		return Method{}, err
	}
	made, err := child.Run(ctx, "casync", "make", "--digest=sha256", store, u.path("new.caibx"), u.New)
	if err != nil {
		return Method{}, err
	}
	after, err := weigh(u.path("store.castr"))
	if err != nil {
		return Method{}, err
	}
	applied, err := child.Run(ctx, "casync", "extract", "--digest=sha256", store, "--seed="+u.Old, u.path("new.caibx"), u.path("out"))
	if err != nil {
		return Method{}, err
	}
	m, err := u.done(u.path("new.caibx"), made, applied)
	m.Remark = fmt.Sprintf("new chunks %d, index %d bytes", after-before, m.Bytes)
	m.Bytes += after - before
	return m, err
}

// weigh sums the sizes of the files of a folder.
func weigh(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

func xdelta3(ctx context.Context, u *update) (Method, error) {
	window := fmt.Sprint(max(u.oldSize, 16<<20)) // so that the whole base is in reach
	made, err := child.Run(ctx, "xdelta3", "-q", "-9", "-S", "lzma", "-B", window, "-e", "-s", u.Old, u.New, u.path("patch"))
	if err != nil {
		return Method{}, err
	}
	applied, err := child.Run(ctx, "xdelta3", "-q", "-B", window, "-d", "-s", u.Old, u.path("patch"), u.path("out"))
	if err != nil {
		return Method{}, err
	}
	return u.done(u.path("patch"), made, applied)
}

func zstdPatch(ctx context.Context, u *update) (Method, error) {
	long := fmt.Sprint("--long=", min(31, max(27, bits.Len64(uint64(u.oldSize+u.newSize))))) // both in one window
	made, err := child.Run(ctx, "zstd", "-q", "-19", long, "--patch-from="+u.Old, u.New, "-o", u.path("patch"))
	if err != nil {
		return Method{}, err
	}
	applied, err := child.Run(ctx, "zstd", "-q", "-d", long, "--patch-from="+u.Old, u.path("patch"), "-o", u.path("out"))
	if err != nil {
		return Method{}, err
	}
	return u.done(u.path("patch"), made, applied)
}

// bsdiffMemory is what bsdiff needs, by its manual.
func bsdiffMemory(oldSize, newSize int64) int64 { return max(17*oldSize, 9*oldSize+newSize) }

func bsdiff(ctx context.Context, u *update) (Method, error) {
	if _, err := child.Find("bsdiff"); err != nil {
		return Method{}, err
	}
	if need := bsdiffMemory(u.oldSize, u.newSize); need > u.tooMuch {
		return Method{}, leftOut(fmt.Sprintf("needs %.0f MiB of memory, the limit is %.0f", mib(need), mib(u.tooMuch)))
	}
	made, err := child.Run(ctx, "bsdiff", u.Old, u.New, u.path("patch"))
	if err != nil {
		return Method{}, err
	}
	applied, err := child.Run(ctx, "bspatch", u.Old, u.path("out"), u.path("patch"))
	if err != nil {
		return Method{}, err
	}
	return u.done(u.path("patch"), made, applied)
}
