package images

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
)

// edit is a small change of the standard library, as a security release of Go makes them.
type edit struct {
	file   string
	after  *regexp.Regexp // head of a function
	insert string
}

func edits() []edit {
	return []edit{
		{"net/http/server.go", regexp.MustCompile(`func \(\w+ \*Server\) Serve\(l net\.Listener\) error \{\n`), `	if l == nil {
		return errors.New("http: Serve without a listener")
	}
`},
		{"strings/strings.go", regexp.MustCompile(`func Replace\(s, old, new string, n int\) string \{\n`), `	if len(old) > len(s) {
		return s
	}
`},
		{"os/file.go", regexp.MustCompile(`func ReadFile\(name string\) \(\[\]byte, error\) \{\n`), `	if name == "" {
		return nil, &PathError{Op: "open", Path: name, Err: ErrNotExist}
	}
`},
	}
}

// programs are what is compiled: three of this module, three of Go.
func programs() []string {
	return []string{"./agent/cmd/waxwing-agent", "./server/cmd/waxwing", "./server/cmd/waxwing-server", "cmd/gofmt", "cmd/vet", "cmd/go"}
}

// rebuild is the case "go": programs for an ARM device, compiled again with another version in them and small changes of
// the standard library, beside sources that stay.
func (w *Workshop) rebuild(ctx context.Context) (Pair, error) {
	const mib = 256
	pair, err := w.compiled(ctx, "go", mib, "arm64", []string{"src/net", "src/crypto", "src/go", "src/runtime", "src/cmd/compile"})
	pair.Notes = []string{fmt.Sprintf("%d Go programs for arm64, compiled again after 3 small edits of the standard library", len(programs()))}
	return pair, err
}

// toolchain stands in for the case "ext4" where there is no archive.
func (w *Workshop) toolchain(ctx context.Context, cause error) (Pair, error) {
	if ctx.Err() != nil {
		return Pair{}, ctx.Err()
	}
	files := []string{"src/net", "src/crypto", "src/go"}
	if w.o.Size >= 512 {
		files = []string{"src", "bin", "pkg/tool"}
	}
	pair, err := w.compiled(ctx, "toolchain", max(w.o.Size, 256), runtime.GOARCH, files)
	pair.Notes = []string{"NOT of Debian packages (" + cause.Error() + "): Go's toolchain, and Go programs that were compiled again"}
	return pair, err
}

// compiled makes ext4 images of compiled programs and of files of the Go toolchain.
func (w *Workshop) compiled(ctx context.Context, name string, mib int, arch string, files []string) (Pair, error) {
	root, version, err := w.golang(ctx)
	if err != nil {
		return Pair{}, err
	}
	source, err := w.sourceDigest(ctx)
	if err != nil {
		return Pair{}, err
	}
	dir, err := w.kept(name, append([]string{fmt.Sprint(mib), arch, version, source}, files...), func(dir string) error {
		overlay, err := patched(root, dir)
		if err != nil {
			return err
		}
		for i, version := range []string{"old", "new"} {
			tree := filepath.Join(dir, version)
			for _, file := range files {
				if err := copyTree(filepath.Join(root, file), filepath.Join(tree, "usr/lib/go", file)); err != nil {
					return err
				}
			}
			args := []string{"-ldflags", fmt.Sprintf("-s -w -buildid= -X main.version=1.%d.0", i)}
			if version == "new" {
				args = append(args, "-overlay", overlay)
			}
			if err := w.compile(ctx, arch, filepath.Join(tree, "usr/bin"), args); err != nil {
				return err
			}
			if err := Ext4(ctx, tree, tree+".img", mib); err != nil {
				return err
			}
		}
		return nil
	})
	return inside(dir), err
}

// golang returns where Go is, and which.
func (w *Workshop) golang(ctx context.Context) (root, version string, err error) {
	out, _, err := child.In(ctx, w.o.Source, nil, "go", "env", "GOROOT", "GOVERSION")
	if err != nil {
		return "", "", err
	}
	words := strings.Fields(string(out))
	if len(words) != 2 {
		return "", "", fmt.Errorf("go env: %q", out)
	}
	return words[0], words[1], nil
}

// sourceDigest names the sources of the programs: another tree of them is another recipe.
func (w *Workshop) sourceDigest(ctx context.Context) (string, error) {
	out, _, err := child.In(ctx, w.o.Source, []string{"CGO_ENABLED=0", "GOOS=linux"}, "go", append([]string{
		"list", "-deps", "-tags", "nethttpomithttp2", "-f", `{{if .Module}}{{with $p := .}}{{if .Module.Main}}` +
			`{{range .GoFiles}}{{$p.Dir}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$p.Dir}}/{{.}}{{"\n"}}{{end}}` +
			`{{else}}={{.Module.Path}}@{{.Module.Version}}{{"\n"}}{{end}}{{end}}{{end}}`,
	}, programs()...)...)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for line := range strings.FieldsSeq(string(out)) {
		b := []byte(line)
		if line[0] != '=' {
			if b, err = os.ReadFile(line); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(hash, "%d\n", len(b))
		hash.Write(b)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}

// patched writes the changed files of the standard library into a folder and returns the overlay that the compiler takes.
func patched(root, dir string) (string, error) {
	replace := map[string]string{}
	for i, e := range edits() {
		original := filepath.Join(root, "src", filepath.FromSlash(e.file))
		b, err := os.ReadFile(original)
		if err != nil {
			return "", err
		}
		at := e.after.FindAllIndex(b, -1)
		if len(at) != 1 {
			return "", fmt.Errorf("%s: %d places look like %s; change the edits of this benchmark", original, len(at), e.after)
		}
		changed := filepath.Join(dir, fmt.Sprintf("edit%d.go", i))
		if err := os.WriteFile(changed, slices.Insert(b, at[0][1], []byte(e.insert)...), 0o644); err != nil {
			return "", err
		}
		replace[original] = changed
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o644)
}

// compile builds the programs into a folder. The sources are only read.
func (w *Workshop) compile(ctx context.Context, arch, to string, flags []string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", "nethttpomithttp2", "-o", to + "/"}, flags...)
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOFLAGS=-mod=readonly"}
	_, _, err := child.In(ctx, w.o.Source, env, "go", append(args, programs()...)...)
	return err
}

// copyTree copies files and folders, and links as links.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		switch {
		case e.IsDir():
			return os.MkdirAll(target, 0o755)
		case e.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			return errors.Join(err, os.Symlink(link, target))
		case !e.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o755)
	})
}
