// Package common_test checks the syntax trees of this module's packages. A package of common must not start
// threads, accept connections or wait for events, so that each stage's technique stays in the stage's own files.
package common_test

import (
	"fmt"
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

const module = "fourways.example/common"

// allowedImports lists for each package of common the other ones that it may import. For the packages of
// servertest, which test servers from outside, packages_test.go has a list of its own.
var allowedImports = map[string][]string{
	"stream":    {},
	"sock":      {},
	"deadline":  {},
	"slotmap":   {},
	"inbox":     {"sock"},
	"resp":      {},
	"h1":        {"stream", "sock", "resp"},
	"accesslog": {"h1"},
	"site":      {"h1", "sock", "resp"},
	"cli":       {"h1", "sock", "site", "accesslog"},
}

// thirdParty lists the packages outside the standard library that common and the stages may import.
var thirdParty = []string{"golang.org/x/sys/unix", "github.com/golang-jwt/jwt/v5"}

// violations returns the rules that a file of a package of common breaks. If pkg is "", it is a file of a stage.
func violations(pkg string, file *ast.File) []string {
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		first, _, _ := strings.Cut(path, "/")
		inner, ours := strings.CutPrefix(path, module+"/")
		switch {
		case path == "net" || path == "net/http" || strings.HasPrefix(path, "net/http/"):
			add("imports %s: the servers use raw sockets", path)
		case path == "log" || path == "log/slog":
			add("imports %s, which writes to stderr itself: use Config.Warn instead", path)
		case ours && pkg == "":
			if inner == "servertest" || strings.HasPrefix(inner, "servertest/") {
				add("imports servertest, which is only for tests")
			}
		case ours && !slices.Contains(allowedImports[pkg], inner):
			add("%s imports %s", pkg, inner)
		case strings.HasPrefix(path, "fourways.example/") && !ours:
			add("imports %s, a package of a stage or of lab", path)
		case !ours && strings.Contains(first, ".") && !slices.Contains(thirdParty, path):
			add("imports %s: a server depends only on x/sys and golang-jwt", path)
		}
	}
	if pkg != "sock" {
		ast.Inspect(file, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok && name.Name == "EINTR" {
				add("mentions EINTR: only sock repeats an interrupted call")
			}
			return true
		})
	}
	if pkg != "cli" { // cli passes both streams to accesslog, and prints the help before the server starts
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				x, _ := n.X.(*ast.Ident)
				if x != nil && (x.Name == "os" && (n.Sel.Name == "Stdout" || n.Sel.Name == "Stderr") ||
					x.Name == "fmt" && strings.HasPrefix(n.Sel.Name, "Print")) {
					add("mentions %s.%s: a server must not wait for the reader of its output; use Config.Warn instead", x.Name, n.Sel.Name)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
					add("calls %s: a server must not wait for the reader of its output; use Config.Warn instead", f.Name)
				}
			}
			return true
		})
	}
	if pkg == "" {
		return found // the rules below are not for stages
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if pkg != "accesslog" {
				add("starts a goroutine: only accesslog and the stages may")
			}
		case *ast.SelectorExpr:
			switch n.Sel.Name {
			case "LockOSThread":
				add("locks a thread: only stages may")
			case "Accept", "Accept4":
				if pkg != "sock" {
					add("accepts connections: only stages may")
				}
			case "EpollWait", "EpollPwait", "SYS_EPOLL_PWAIT", "SYS_EPOLL_WAIT":
				if pkg != "sock" {
					add("waits for events: only stages may")
				}
			}
		case *ast.ForStmt, *ast.RangeStmt:
			ast.Inspect(n, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && strings.Contains(strings.ToLower(s.Sel.Name), "epoll") {
					add("calls %s in a loop: only stages may", s.Sel.Name)
				}
				return true
			})
		}
		return true
	})
	return found
}

// parseTree parses the Go files of a folder and the folders in it, without tests.
func parseTree(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "testdata" {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			files[path], err = parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestPackageRules checks the packages of common.
func TestPackageRules(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pkg := e.Name()
		if !e.IsDir() || pkg == "servertest" || pkg == "testdata" {
			continue
		}
		if _, ok := allowedImports[pkg]; !ok {
			t.Errorf("common/%s is not in allowedImports: add the packages that it may import", pkg)
			continue
		}
		for path, file := range parseTree(t, pkg) {
			for _, v := range violations(pkg, file) {
				t.Errorf("%s %s", path, v)
			}
		}
	}
}

// TestStageRules checks the four stages.
func TestStageRules(t *testing.T) {
	stages, err := filepath.Glob("../stage[0-9]*")
	if err != nil || len(stages) == 0 {
		t.Fatalf("no folder ../stage[0-9]*: %v", err)
	}
	for _, stage := range stages {
		for path, file := range parseTree(t, stage) {
			for _, v := range violations("", file) {
				t.Errorf("%s %s", path, v)
			}
		}
	}
}

// TestViolations checks that each rule finds a file that breaks it and no other file.
func TestViolations(t *testing.T) {
	for _, tt := range []struct{ pkg, body, want string }{
		{"h1", `func f() { go f() }`, "starts a goroutine"},
		{"cli", `func f() { _ = func() { go f() } }`, "starts a goroutine"},
		{"accesslog", `func f() { go f() }`, ""},
		{"", `func f() { go f() }`, ""},
		{"cli", `import "runtime"; func f() { runtime.LockOSThread() }`, "locks a thread"},
		{"sock", `import "runtime"; func f() { runtime.LockOSThread() }`, "locks a thread"},
		{"", `import "runtime"; func f() { runtime.LockOSThread() }`, ""},
		{"cli", `func f(l L) { l.Accept(0) }`, "accepts connections"},
		{"sock", `import "golang.org/x/sys/unix"; func f() { unix.Accept4(0, 0) }`, ""},
		{"h1", `import "golang.org/x/sys/unix"; func f() { unix.EpollWait(0, nil, 0) }`, "waits for events"},
		{"sock", `import "golang.org/x/sys/unix"; func f() { unix.EpollWait(0, nil, 0) }`, ""},
		{"sock", `import "golang.org/x/sys/unix"; func f() { for { unix.EpollWait(0, nil, 0) } }`, "calls EpollWait in a loop"},
		{"h1", `import "golang.org/x/sys/unix"; var e = unix.EINTR`, "mentions EINTR"},
		{"", `import "golang.org/x/sys/unix"; var e = unix.EINTR`, "mentions EINTR"},
		{"sock", `import "golang.org/x/sys/unix"; var e = unix.EINTR`, ""},
		{"h1", `import "os"; func f() { os.Stderr.WriteString("x") }`, "mentions os.Stderr"},
		{"", `import "fmt"; func f() { fmt.Println("x") }`, "mentions fmt.Println"},
		{"", `import "log"; func f() { log.Printf("x") }`, "imports log"},
		{"site", `func f() { println("x") }`, "calls println"},
		{"accesslog", `import "fmt"; import "io"; func f(w io.Writer) { fmt.Fprintf(w, "x") }`, ""},
		{"cli", `import "os"; var out = os.Stdout`, ""},
		{"site", `import _ "net/http"`, "imports net/http"},
		{"", `import _ "net/http/httputil"`, "imports net/http/httputil"},
		{"", `import _ "net"`, "imports net:"},
		{"", `import _ "net/netip"`, ""},
		{"h1", `import _ "fourways.example/common/site"`, "h1 imports site"},
		{"stream", `import _ "fourways.example/common/h1"`, "stream imports h1"},
		{"cli", `import _ "fourways.example/common/servertest"`, "cli imports servertest"},
		{"cli", `import _ "fourways.example/stage1-iterative"`, "a package of a stage"},
		{"", `import _ "fourways.example/common/servertest"`, "imports servertest"},
		{"", `import _ "fourways.example/common/servertest/wire"`, "imports servertest"},
		{"", `import _ "fourways.example/stage1-iterative"`, "a package of a stage"},
		{"", `import _ "fourways.example/common/h1"`, ""},
		{"site", `import _ "github.com/golang-jwt/jwt/v5"`, ""},
		{"site", `import _ "github.com/pkg/errors"`, "imports github.com/pkg/errors"},
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+tt.body, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(violations(tt.pkg, file), "; ")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%q in %q: %q, want %q", tt.body, tt.pkg, got, tt.want)
		}
	}
}
