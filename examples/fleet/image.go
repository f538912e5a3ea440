package fleet

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// smallImage is the size in MiB below which an image holds a part of the files.
const smallImage = 64

// Fixed identities make the images the same each time: an image should differ by its content only.
const imageUUID = "6d7b1f3e-3f4c-4b1e-9b52-8a4f6f1f5e10"

// stamp is the time of every file in an image.
var stamp = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Image makes the root file system of a version at a path: sources and programs of the Go toolchain that this machine
// has, and an agent that was built with the version in it. Later versions carry another build of the agent and a changed
// net package, as after an upgrade of two packages. An unhealthy one says so in /etc/health.
func (f *Fleet) Image(ctx context.Context, version string, healthy bool) (string, error) {
	image := filepath.Join(f.dir, "rootfs-"+version+".ext4")
	tree := filepath.Join(f.dir, "tree-"+version)
	defer os.RemoveAll(tree)
	if err := f.plant(ctx, tree, version, healthy); err != nil {
		return "", fmt.Errorf("image %s: %w", version, err)
	}
	mke2fs, err := find("mke2fs")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, mke2fs, "-q", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^has_journal",
		"-U", imageUUID, "-E", "hash_seed="+imageUUID+",root_owner=0:0", "-d", tree, image, fmt.Sprint(f.o.Image, "M"))
	cmd.Env = append(os.Environ(), fmt.Sprint("E2FSPROGS_FAKE_TIME=", stamp.Unix()))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("image %s: mke2fs: %w: %s", version, err, out)
	}
	return image, nil
}

func (f *Fleet) plant(ctx context.Context, tree, version string, healthy bool) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("where is Go? %w", err)
	}
	root := strings.TrimSpace(string(out))
	files := []string{"src/net", "src/crypto", "bin/gofmt"}
	if f.o.Image >= smallImage {
		files = append(files, "src/go")
		for _, tool := range []string{"asm", "cgo", "link", "vet"} {
			files = append(files, filepath.Join("pkg/tool", runtime.GOOS+"_"+runtime.GOARCH, tool))
		}
	}
	for _, file := range files {
		if err := copyAll(filepath.Join(root, file), filepath.Join(tree, "usr/lib/go", file)); err != nil {
			return err
		}
	}
	if version != First {
		if err := upgrade(filepath.Join(tree, "usr/lib/go/src/net"), version); err != nil {
			return err
		}
	}
	if f.o.Image >= smallImage {
		if err := f.build(ctx, filepath.Join(tree, "usr/bin/waxwing-agent"), version); err != nil {
			return err
		}
	}
	if f.o.Noise > 0 {
		if err := os.WriteFile(filepath.Join(tree, "usr/lib/noise"), noise(f.o.Noise<<20, version), 0o644); err != nil {
			return err
		}
	}
	health := "well\n"
	if !healthy {
		health = "broken\n"
	}
	if err := os.MkdirAll(filepath.Join(tree, "etc"), 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{"etc/health": health, "etc/release": version + "\n"} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, stamp, stamp)
	})
}

// noise is bytes that are the same in all versions but for one in forty.
func noise(n int, version string) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	r := rand.New(rand.NewChaCha8(sha256.Sum256([]byte(version))))
	for at := r.IntN(80); at < n; at += 1 + r.IntN(80) {
		b[at] += byte(1 + r.IntN(3))
	}
	return b
}

// build makes an agent of a version.
func (f *Fleet) build(ctx context.Context, to, version string) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "nethttpomithttp2",
		"-ldflags", "-s -w -buildid= -X main.version="+version, "-o", to, "github.com/waxwing-ota/waxwing/agent/cmd/waxwing-agent")
	build.Dir = f.o.Source
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the agent: %w: %s", err, out)
	}
	return nil
}

// upgrade changes a package of sources as a new version of it would: a line here and there.
func upgrade(dir, version string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, "_unix.go") && !strings.HasPrefix(e.Name(), "h") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strings.Replace(string(b), "The Go Authors", "The Go Authors, "+version, 1)), 0o644)
	})
}

func copyAll(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if e.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o755)
	})
}

// find returns a program, also from where Debian keeps those of root.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, name), nil
		}
	}
	return "", fmt.Errorf("%s is not installed; it comes with Debian's e2fsprogs", name)
}
