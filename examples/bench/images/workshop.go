package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// edition is a part of each recipe: raise it when the way from a recipe to an image changes.
const edition = "1"

// digestSize is how many bytes of the digest of a recipe stand in the name of its folder.
const digestSize = 6

// Options say where and what to build.
type Options struct {
	Dir     string // of everything that is kept
	Size    int    // MiB of the images of Debian packages
	Source  string // folder of the module whose programs the case "go" compiles
	Offline bool   // do as if there were no archive
	Log     *slog.Logger
}

// Pair is an upgrade.
type Pair struct {
	Old, New string   // paths of the images
	Notes    []string // what they hold, and what could not be had
	// OldTree and NewTree are the folders that the images were made of; "" where old and new have no files in common.
	OldTree, NewTree string
	// Renames are pairs of old and new parts of paths: a kernel keeps its modules in a folder of its version.
	Renames []string
}

// Workshop builds pairs.
type Workshop struct {
	o       Options
	archive archive
}

// New returns a workshop.
func New(o Options) *Workshop {
	return &Workshop{o: o, archive: archive{dir: filepath.Join(o.Dir, "debs"), offline: o.Offline, log: o.Log}}
}

// Names returns the names of the pairs in the order to build them.
func Names() []string { return []string{"ext4", "go", "kernel", "squashfs", "unrelated"} }

// Build makes the pair of a name, or finds it.
func (w *Workshop) Build(ctx context.Context, name string) (Pair, error) {
	build, ok := map[string]func(context.Context) (Pair, error){
		"ext4": w.upgrade, "go": w.rebuild, "kernel": w.kernel, "squashfs": w.squashfs, "unrelated": w.unrelated,
	}[name]
	if !ok {
		return Pair{}, fmt.Errorf("there is no case %q; there are %s", name, strings.Join(Names(), ", "))
	}
	pair, err := build(ctx)
	if err != nil {
		return Pair{}, fmt.Errorf("images of %s: %w", name, err)
	}
	return pair, nil
}

// unrelated has the device come from a product that shares nothing with the new one.
func (w *Workshop) unrelated(ctx context.Context) (Pair, error) {
	old, err := w.upgrade(ctx)
	if err != nil {
		return Pair{}, err
	}
	what := "the kernel image"
	target, err := w.kernel(ctx)
	if errors.Is(err, errNoArchive) {
		what = "the image of squashfs, whose compressed bytes are nowhere in it: there is no archive for a kernel"
		target, err = w.squashfs(ctx)
	}
	if err != nil {
		return Pair{}, err
	}
	return Pair{Old: old.Old, New: target.New, Notes: []string{"from the old image of ext4 to " + what}}, nil
}

// kept returns a folder named by a recipe, and whether what it holds is complete. make fills it otherwise.
func (w *Workshop) kept(name string, recipe []string, build func(dir string) error) (dir string, err error) {
	sum := sha256.Sum256([]byte(edition + "\n" + strings.Join(recipe, "\n")))
	dir = filepath.Join(w.o.Dir, name+"-"+hex.EncodeToString(sum[:digestSize]))
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	w.o.Log.Info("building images", "case", name, "folder", dir)
	part := dir + ".part" // of a run that was ended; it may hold anything
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return "", err
	}
	if err := build(part); err != nil {
		return "", errors.Join(err, os.RemoveAll(part))
	}
	if err := os.Rename(part, dir); err != nil {
		return "", err
	}
	return dir, w.prune(name)
}

// recipes is how many recipes of one name are kept: a short and a long run in turns should not build everything anew.
const recipes = 2

// prune removes all but the newest folders of a name.
func (w *Workshop) prune(name string) error {
	entries, err := os.ReadDir(w.o.Dir)
	if err != nil {
		return err
	}
	var found []fs.FileInfo
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), name+"-"); ok && e.IsDir() && len(rest) == 2*digestSize {
			info, err := e.Info()
			if err != nil {
				return err
			}
			found = append(found, info)
		}
	}
	slices.SortFunc(found, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, old := range found[min(len(found), recipes):] {
		if err := os.RemoveAll(filepath.Join(w.o.Dir, old.Name())); err != nil {
			return err
		}
	}
	return nil
}
