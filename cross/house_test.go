package cross_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestHouse holds the rules of CONTRIBUTING.md that no linter knows.
func TestHouse(t *testing.T) {
	forbidden := []string{"util", "utils", "common", "helper", "helpers", "types", "models", "pkg", "core", "base", "misc"}
	comments, packages := map[string]string{}, map[string]string{}
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		if e.IsDir() {
			if name == "node_modules" || name == "testdata" || (strings.HasPrefix(name, ".") && name != "..") {
				return fs.SkipDir
			}
			if slices.Contains(forbidden, name) {
				t.Errorf("%s: a package is a noun of the domain, or the name of what it adapts", path)
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, ".gen.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if lines := strings.Count(string(b), "\n"); lines > 600 {
			t.Errorf("%s has %d lines; 600 is the limit, 100 the aim", path, lines)
		}
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, b, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		packages[dir] = file.Name.Name
		if file.Doc != nil {
			if comments[dir] != "" {
				t.Errorf("%s: two package comments", dir)
			}
			comments[dir] = file.Doc.Text()
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok && i.Methods.NumFields() > 5 && !strings.Contains(path, ".gen.go") {
				t.Errorf("%s: an interface of %d methods; 5 is the limit", path, i.Methods.NumFields())
			}
			if f, ok := n.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: no init functions", path)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, name := range packages {
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + filepath.Base(dir) + " "
		}
		if !strings.HasPrefix(comments[dir], want) {
			t.Errorf("%s: its package comment must begin with %q", dir, want)
		}
	}
}

// TestFolders holds what stands at the top, and that each folder and the whole have a short manual.
func TestFolders(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{
		"server", "agent", "firmware", "signing", "mesh", "dashboard", "cross", "examples", "go.mod", "go.sum", "Makefile",
		"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "bin",
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s does not belong at the top", e.Name())
		}
	}
	for _, folder := range append(allowed[:8:8], ".") {
		b, err := os.ReadFile(filepath.Join("..", folder, "README.md"))
		if lines := strings.Count(string(b), "\n"); err != nil || lines > 120 {
			t.Errorf("%s/README.md: %v, %d lines of at most 120", folder, err, lines)
		}
	}
}
