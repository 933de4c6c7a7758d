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

// stages lists the folders of the four stages. budget limits the lines that differ from the stage
// before. If there are more, the stage probably has code that belongs into common.
var stages = []struct {
	folder string
	budget int
}{
	{"../stage1-iterative", 0},
	{"../stage2-threadpool", 70},
	{"../stage3-dualstack", 120},
	{"../stage4-epoll", 300},
}

// TestServeIsTheSame checks that serve and its comment are the same text in all stages.
func TestServeIsTheSame(t *testing.T) {
	want := serveText(t, stages[0].folder)
	for _, s := range stages[1:] {
		if got := serveText(t, s.folder); got != want {
			t.Errorf("serve of %s differs:\n%s\nwant:\n%s", s.folder, got, want)
		}
	}
}

// serveText returns the text of serve in a stage's server.go, with its comment.
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
	t.Fatalf("%s has no function serve", name)
	return ""
}

// TestMainDiffersInOneLine checks that only the declaration of stage differs between the main.go of
// the stages.
func TestMainDiffersInOneLine(t *testing.T) {
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
			t.Errorf("%s/main.go: %d lines have the form %s…}, want 1", folder, values, value)
		}
		return strings.Join(kept, "")
	}
	want := rest(stages[0].folder)
	for _, s := range stages[1:] {
		if rest(s.folder) != want {
			t.Errorf("%s/main.go differs in more than the declaration of stage", s.folder)
		}
	}
}

// TestBudget counts the lines that differ between one stage and the next, in the Go files that are
// not tests. It counts like `diff -rN old new | grep -c '^[<>]'`.
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
			t.Errorf("%s: %d changed lines, want at most %d: move shared code to common", s.folder, changed, s.budget)
		}
	}
}

// goFiles returns the lines of a folder's Go files that are not tests, by file name.
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

// goLines returns the lines of a file, each with its line end.
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

// distance returns how many lines of a and b are not in their longest common subsequence.
func distance(a, b []string) int {
	common := make([]int, len(b)+1) // common[j]: the length for the lines of a so far and b[:j]
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
