package common_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A layer is a package below common/servertest.
type layer struct {
	name    string
	imports []string // of the others; each stands above this one in the list
}

// layers are all of them. docs/design.md shows the list as a picture.
var layers = []layer{
	{"kernel", nil},
	{"stages", nil},
	{"docroot", nil},
	{"process", []string{"kernel"}},
	{"wire", []string{"kernel"}},
	{"record", []string{"process"}},
	{"netns", []string{"process", "record"}},
	{"variants", []string{"process", "stages"}},
	{"suite", []string{"docroot", "kernel", "process", "record", "stages", "wire"}},
	{"cases", []string{"docroot", "kernel", "process", "stages", "suite", "wire"}},
	{"trials", []string{"docroot", "kernel", "netns", "process", "record", "stages", "suite", "wire"}},
	{"scenario", []string{"docroot", "kernel", "process", "record", "stages", "variants", "wire"}},
	{"pitfalls", []string{"docroot", "kernel", "netns", "process", "record", "scenario", "stages", "variants", "wire"}},
	{"pitfalls/goside", nil},
	{"pitfalls/measuring", nil},
	{"", []string{"cases", "kernel", "netns", "pitfalls", "process", "suite", "trials"}}, // servertest itself
}

// mostFiles is how many files without tests a package may have: more than that a reader
// does not take in at a glance.
const mostFiles = 25

// sources parses the Go files of one folder, those of tests included.
func sources(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, path := range paths {
		if files[path], err = parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// packages are the folders below dir that have Go files, by their path from there; dir itself is ".".
func packages(t *testing.T, dir string) []string {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || path != dir && strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			rel, err := filepath.Rel(dir, filepath.Dir(path))
			found[filepath.ToSlash(rel)] = true
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(found))
}

// foreign returns what a package of servertest imports and may not.
func foreign(l layer, test bool, file *ast.File) []string {
	var found []string
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		inner, below := strings.CutPrefix(path, module+"/servertest/")
		switch {
		case below && slices.Contains(l.imports, inner):
		case below:
			found = append(found, fmt.Sprintf("%q imports %s", l.name, inner))
		case l.name == "pitfalls/goside" && test && path == module+"/sock": // it is about system calls
		case strings.HasPrefix(path, "fourways.example/"):
			found = append(found, fmt.Sprintf("imports %s: what looks at servers from outside has nothing of theirs", path))
		}
	}
	return found
}

// TestLayers holds the packages of servertest to the list.
func TestLayers(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range layers {
		for _, i := range l.imports {
			if !seen[i] {
				t.Errorf("the list has %q before %q, which it imports", l.name, i)
			}
		}
		seen[l.name] = true
		dir := filepath.Join("servertest", filepath.FromSlash(l.name))
		used := map[string]bool{}
		for path, file := range sources(t, dir) {
			for _, f := range foreign(l, strings.HasSuffix(path, "_test.go"), file) {
				t.Errorf("%s %s", path, f)
			}
			for _, spec := range file.Imports {
				used[strings.TrimPrefix(strings.Trim(spec.Path.Value, `"`), module+"/servertest/")] = true
			}
		}
		for _, i := range l.imports {
			if !used[i] {
				t.Errorf("%q does not import %s any more: take it out of the list", l.name, i)
			}
		}
	}
	for _, p := range packages(t, "servertest") {
		if p == "." {
			p = ""
		}
		if !seen[p] {
			t.Errorf("common/servertest/%s is not in the list of layers: what may it import?", p)
		}
	}
}

// TestPicture compares the list with docs/design.md.
func TestPicture(t *testing.T) {
	text, err := os.ReadFile("../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Packages\n")
	section, _, _ = strings.Cut(section, "\n## ")
	shown := map[string]bool{}
	for line := range strings.Lines(section) {
		shown[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, l := range layers {
		if len(l.imports) == 0 {
			continue
		}
		name := l.name
		if name == "" {
			name = "servertest"
		}
		if line := name + " → " + strings.Join(l.imports, ", "); !shown[line] {
			t.Errorf("docs/design.md has no line %q", line)
		}
	}
}

// TestLab sees that the packages of lab import nothing of each other: what two commands share belongs
// in common/servertest.
func TestLab(t *testing.T) {
	for _, p := range packages(t, "../lab") {
		kind, _, _ := strings.Cut(p, "/")
		if !slices.Contains([]string{".", "learner", "maintainer", "support"}, kind) {
			t.Errorf("lab/%s is for whom? lab/learner, lab/maintainer and lab/support have the packages", p)
		}
		for path, file := range sources(t, filepath.Join("..", "lab", filepath.FromSlash(p))) {
			for _, spec := range file.Imports {
				imported := strings.Trim(spec.Path.Value, `"`)
				inner, ours := strings.CutPrefix(imported, "fourways.example/")
				if !ours || strings.HasPrefix(inner, "common/servertest/") || p == "." && strings.HasPrefix(inner, "lab/") {
					continue
				}
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
}

// TestSize counts the files of every package.
func TestSize(t *testing.T) {
	for _, p := range packages(t, "..") {
		n := 0
		for path := range sources(t, filepath.Join("..", filepath.FromSlash(p))) {
			if !strings.HasSuffix(path, "_test.go") {
				n++
			}
		}
		if n > mostFiles {
			t.Errorf("%s has %d files, want at most %d: it has more than one job", p, n, mostFiles)
		}
	}
}

// The check of the layers sees what it is for.
func TestForeign(t *testing.T) {
	wire := layer{"wire", []string{"kernel"}}
	for _, tt := range []struct {
		layer    layer
		test     bool
		imported string
		want     string
	}{
		{wire, false, module + "/servertest/kernel", ""},
		{wire, true, module + "/servertest/kernel", ""},
		{wire, false, module + "/servertest/suite", "imports suite"},
		{wire, false, module + "/servertest/pitfalls/goside", "imports pitfalls/goside"},
		{wire, false, module + "/servertest", "nothing of theirs"},
		{wire, false, module + "/h1", "nothing of theirs"},
		{wire, false, "fourways.example/lab/learner/grade", "nothing of theirs"},
		{wire, false, "net/http", ""},
		{layer{"pitfalls/goside", nil}, true, module + "/sock", ""},
		{layer{"pitfalls/goside", nil}, false, module + "/sock", "nothing of theirs"},
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", fmt.Sprintf("package x; import _ %q", tt.imported), parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(foreign(tt.layer, tt.test, file), "; ")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s in %q: %q, want %q", tt.imported, tt.layer.name, got, tt.want)
		}
	}
}
