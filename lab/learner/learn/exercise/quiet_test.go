package exercise

import (
	"go/ast"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestQuiet takes comments out of a file that has each kind.
func TestQuiet(t *testing.T) {
	const text = `// Package p has a comment.
package p

// limit is a constant.
const limit = 3 // at most

// Add adds two numbers. It does not
// check for an overflow, e.g. of large ones.
func Add(a, b int) int {
	// The order does not matter.
	sum := a + b // no overflow
	if sum > limit {
		return limit
	} // else it is small

	/* done */
	return sum
}

// T is a type. It is empty.
type T struct{}

//go:noinline
func (T) f() {
	//nolint:all
	_ = "// no comment"
	for {
		// nothing
	}
}
`
	const want = `// Package p has a comment.
package p

// limit is a constant.
const limit = 3 // at most

// Add adds two numbers.
func Add(a, b int) int {
	sum := a + b
	if sum > limit {
		return limit
	}

	return sum
}

// T is a type. It is empty.
type T struct{}

//go:noinline
func (T) f() {
	//nolint:all
	_ = "// no comment"
	for {
	}
}
`
	if got, err := quiet([]byte(text)); err != nil || string(got) != want {
		t.Errorf("%v, got\n%s", err, got)
	}
}

// TestBugsDoNotPointToThemselves checks what a reader could find without the check: comments in the code with the bug,
// and functions that only the bug has left without a use.
func TestBugsDoNotPointToThemselves(t *testing.T) {
	root := repo(t).Root
	read := ReadFrom(root)
	for _, e := range Bugs() {
		stubs, err := e.Stubs(read)
		if err != nil {
			t.Fatal(err)
		}
		changed := map[string][]byte{}
		for _, s := range stubs {
			changed[filepath.Join(root, s.File)] = s.Text
			if n := commentsInFunctions(t, s.Text); n > 0 {
				t.Errorf("%s: %d comments are in functions of %s", e.ID, n, s.File)
			}
		}
		for _, s := range stubs {
			files, err := filepath.Glob(filepath.Join(root, filepath.Dir(s.File), "*.go"))
			if err != nil {
				t.Fatal(err)
			}
			before, after, functions := map[string]int{}, map[string]int{}, map[string]bool{}
			for _, file := range files {
				if strings.HasSuffix(file, "_test.go") {
					continue
				}
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				countNames(t, text, before, functions)
				if bad, ok := changed[file]; ok {
					text = bad
				}
				countNames(t, text, after, map[string]bool{})
			}
			for name := range functions {
				if before[name] > 1 && after[name] == 1 {
					t.Errorf("%s: only the bug leaves %s in %s without a use", e.ID, name, filepath.Dir(s.File))
				}
			}
		}
	}
}

func commentsInFunctions(t *testing.T, text []byte) (n int) {
	t.Helper()
	s, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range s.file.Decls {
		for _, c := range s.file.Comments {
			if f, ok := d.(*ast.FuncDecl); ok && c.Pos() > f.Body.Lbrace && c.End() < f.Body.Rbrace && !isDirective(c) {
				n++
			}
		}
	}
	return n
}

// countNames counts each name in the code of a file, and collects the names of its functions.
func countNames(t *testing.T, text []byte, count map[string]int, functions map[string]bool) {
	t.Helper()
	s, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			count[n.Name]++
		case *ast.FuncDecl:
			functions[n.Name.Name] = true
		}
		return true
	})
}
