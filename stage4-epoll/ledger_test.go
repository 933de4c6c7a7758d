package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stages are the folders of the four stages, and how many changed lines each may have against the
// one before it. More means that something below the technique has leaked into the stage.
var stages = []struct {
	folder string
	budget int
}{
	{"../stage1-iterative", 0},
	{"../stage2-threadpool", 70},
	{"../stage3-dualstack", 120},
	{"../stage4-epoll", 300},
}

// TestServeIsTheSame: serve is byte for byte the same in all stages, comment included.
func TestServeIsTheSame(t *testing.T) {
	want := serveText(t, stages[0].folder)
	for _, s := range stages[1:] {
		if got := serveText(t, s.folder); got != want {
			t.Errorf("serve of %s is another one:\n%s\nwant:\n%s", s.folder, got, want)
		}
	}
}

// serveText is the declaration of serve in a stage's server.go, with its comment.
func serveText(t *testing.T, folder string) string {
	t.Helper()
	name := filepath.Join(folder, "server.go")
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "serve" && f.Recv == nil {
			from := f.Pos()
			if f.Doc != nil {
				from = f.Doc.Pos()
			}
			return string(src[fset.Position(from).Offset:fset.Position(f.End()).Offset])
		}
	}
	t.Fatalf("no serve in %s", name)
	return ""
}

// TestMainDiffersInOneValue: of main.go only the line of stage differs.
func TestMainDiffersInOneValue(t *testing.T) {
	const value = "var stage = cli.Stage{"
	rest := func(folder string) string {
		lines := goLines(t, filepath.Join(folder, "main.go"))
		kept := lines[:0]
		values := 0
		for _, line := range lines {
			if strings.HasPrefix(line, value) && strings.HasSuffix(strings.TrimSpace(line), "}") {
				values++
				continue
			}
			kept = append(kept, line)
		}
		if values != 1 {
			t.Errorf("%s/main.go: %d lines are %s…}, want 1", folder, values, value)
		}
		return strings.Join(kept, "")
	}
	want := rest(stages[0].folder)
	for _, s := range stages[1:] {
		if rest(s.folder) != want {
			t.Errorf("%s/main.go differs in more than its one value", s.folder)
		}
	}
}

// TestBudget counts the changed lines between neighbours as `diff -rN old new | grep -c '^[<>]'`
// does, in the Go files that are no tests.
func TestBudget(t *testing.T) {
	for i, s := range stages[1:] {
		old := goFiles(t, stages[i].folder)
		now := goFiles(t, s.folder)
		changed := 0
		for name, lines := range old {
			changed += distance(lines, now[name])
		}
		for name, lines := range now {
			if _, ok := old[name]; !ok {
				changed += len(lines)
			}
		}
		t.Logf("%s: %d changed lines, at most %d", s.folder, changed, s.budget)
		if changed > s.budget {
			t.Errorf("%s: %d changed lines, want at most %d: something leaked into it", s.folder, changed, s.budget)
		}
	}
}

// goFiles are the lines of a folder's Go files that are no tests, by name.
func goFiles(t *testing.T, folder string) map[string][]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no Go files in %s: %v", folder, err)
	}
	files := map[string][]string{}
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			files[filepath.Base(name)] = goLines(t, name)
		}
	}
	return files
}

func goLines(t *testing.T, name string) []string {
	t.Helper()
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range bytes.Lines(src) {
		lines = append(lines, string(line))
	}
	return lines
}

// distance is the number of lines that are in a or b and not in their longest common subsequence.
func distance(a, b []string) int {
	common := make([]int, len(b)+1) // of the lines of a so far and b[:j]
	for _, line := range a {
		diagonal := 0
		for j := range b {
			above := common[j+1]
			if line == b[j] {
				common[j+1] = diagonal + 1
			} else {
				common[j+1] = max(above, common[j])
			}
			diagonal = above
		}
	}
	return len(a) + len(b) - 2*common[len(b)]
}
