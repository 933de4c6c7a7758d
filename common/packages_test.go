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

// A layer is a package in common/servertest.
type layer struct {
	name    string   // the path in common/servertest
	imports []string // the other packages of servertest that it imports; all are above it in layers
}

// layers lists all packages of servertest. docs/design.md has the same list.
var layers = []layer{
	{"kernel", nil},
	{"stages", nil},
	{"docroot", nil},
	{"process", []string{"kernel"}},
	{"wire", []string{"kernel"}},
	{"record", []string{"process"}},
	{"tier", []string{"kernel", "process", "record"}},
	{"netns", []string{"process", "record"}},
	{"variants", []string{"process", "stages"}},
	{"suite", []string{"docroot", "kernel", "process", "record", "stages", "wire"}},
	{"cases", []string{"docroot", "kernel", "process", "stages", "suite", "tier", "wire"}},
	{"trials", []string{"docroot", "kernel", "netns", "process", "record", "stages", "suite", "wire"}},
	{"scenario", []string{"docroot", "kernel", "process", "record", "stages", "variants", "wire"}},
	{"pitfalls", []string{"docroot", "kernel", "netns", "process", "record", "scenario", "stages", "tier", "variants", "wire"}},
	{"pitfalls/goside", nil},
	{"pitfalls/measuring", nil},
	{"", []string{"cases", "kernel", "netns", "pitfalls", "process", "stages", "suite", "trials", "variants"}}, // servertest itself
}

// maxFiles is how many files a package may have, without tests. A reader cannot survey more.
const maxFiles = 25

// parseImports parses the imports of the Go files in a folder, including tests.
func parseImports(t *testing.T, dir string) map[string]*ast.File {
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

// packages returns the folders in dir that have Go files, as paths relative to dir. If dir has Go files itself,
// it is ".".
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

// forbiddenImports returns the imports of a file in a package of servertest that the package may not have.
func forbiddenImports(l layer, test bool, file *ast.File) []string {
	var found []string
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		inner, ours := strings.CutPrefix(path, module+"/servertest/")
		switch {
		case ours && slices.Contains(l.imports, inner):
		case ours:
			found = append(found, fmt.Sprintf("%q imports %s", l.name, inner))
		case l.name == "pitfalls/goside" && test && path == module+"/sock": // goside's tests are about system calls
		case strings.HasPrefix(path, "fourways.example/"):
			found = append(found, fmt.Sprintf("imports %s: servertest must not use the code that it tests", path))
		}
	}
	return found
}

// TestServertestImports checks that the packages of servertest import what layers lists, and nothing else.
func TestServertestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range layers {
		for _, i := range l.imports {
			if !seen[i] {
				t.Errorf("layers has %q before %q, which it imports", l.name, i)
			}
		}
		seen[l.name] = true
		dir := filepath.Join("servertest", filepath.FromSlash(l.name))
		used := map[string]bool{}
		for path, file := range parseImports(t, dir) {
			for _, f := range forbiddenImports(l, strings.HasSuffix(path, "_test.go"), file) {
				t.Errorf("%s %s", path, f)
			}
			for _, spec := range file.Imports {
				used[strings.TrimPrefix(strings.Trim(spec.Path.Value, `"`), module+"/servertest/")] = true
			}
		}
		for _, i := range l.imports {
			if !used[i] {
				t.Errorf("%q does not import %s: remove it from layers", l.name, i)
			}
		}
	}
	for _, p := range packages(t, "servertest") {
		if p == "." {
			p = ""
		}
		if !seen[p] {
			t.Errorf("common/servertest/%s is not in layers: add it with the packages that it may import", p)
		}
	}
}

// TestDesignListsImports checks that docs/design.md has the imports in layers.
func TestDesignListsImports(t *testing.T) {
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

// slow is the mark of slow tests, which all tests of lab may import.
const slow = "lab/support/slow"

// labShared lists the packages of lab that one other command imports, with that command. docs/design.md says why.
var labShared = map[string]string{
	"lab/learner/ledger":         "lab/learner/book",
	"lab/learner/learn/exercise": "lab/learner/handout",
	"lab/learner/learn/tree":     "lab/learner/handout",
}

// TestLabImports checks that the commands of lab do not import each other, except for labShared. Code that two commands
// share belongs in common/servertest if it looks at servers. A command may have packages of its own in its folder.
func TestLabImports(t *testing.T) {
	for _, p := range packages(t, "../lab") {
		kind, rest, _ := strings.Cut(p, "/")
		command, _, _ := strings.Cut(rest, "/")
		folder := "lab/" + kind + "/" + command
		if !slices.Contains([]string{".", "learner", "maintainer", "support"}, kind) {
			t.Errorf("lab/%s is not in lab/learner, lab/maintainer or lab/support", p)
		}
		for path, file := range parseImports(t, filepath.Join("..", "lab", filepath.FromSlash(p))) {
			for _, spec := range file.Imports {
				imported := strings.Trim(spec.Path.Value, `"`)
				inner, ours := strings.CutPrefix(imported, "fourways.example/")
				if !ours || strings.HasPrefix(inner, "common/servertest/") || p == "." && strings.HasPrefix(inner, "lab/") {
					continue
				}
				if command != "" && (strings.HasPrefix(inner, folder+"/") || labShared[inner] == folder) ||
					inner == slow && strings.HasSuffix(path, "_test.go") {
					continue
				}
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
}

// TestPackageSize checks that no package has more than maxFiles files.
func TestPackageSize(t *testing.T) {
	for _, p := range packages(t, "..") {
		n := 0
		for path := range parseImports(t, filepath.Join("..", filepath.FromSlash(p))) {
			if !strings.HasSuffix(path, "_test.go") {
				n++
			}
		}
		if n > maxFiles {
			t.Errorf("%s has %d files, want at most %d: split it by subject", p, n, maxFiles)
		}
	}
}

// TestForbiddenImports checks that forbiddenImports finds the imports that are not allowed, and no others.
func TestForbiddenImports(t *testing.T) {
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
		{wire, false, module + "/servertest", "the code that it tests"},
		{wire, false, module + "/h1", "the code that it tests"},
		{wire, false, "fourways.example/lab/learner/grade", "the code that it tests"},
		{wire, false, "net/http", ""},
		{layer{"pitfalls/goside", nil}, true, module + "/sock", ""},
		{layer{"pitfalls/goside", nil}, false, module + "/sock", "the code that it tests"},
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", fmt.Sprintf("package x; import _ %q", tt.imported), parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(forbiddenImports(tt.layer, tt.test, file), "; ")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s in %q: %q, want %q", tt.imported, tt.layer.name, got, tt.want)
		}
	}
}
