// Package common_test checks on the syntax tree what the rooms of this module may
// not do, so that each stage's technique stays in that stage's server.go.
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

// rooms is what each package of common may import of the others. For servertest, which
// looks at servers from outside, packages_test.go has a list of its own.
var rooms = map[string][]string{
	"stream":    {},
	"sock":      {},
	"deadline":  {},
	"inbox":     {"sock"},
	"h1":        {"stream", "sock"},
	"accesslog": {"h1"},
	"site":      {"h1"},
	"cli":       {"h1", "sock", "site", "accesslog"},
}

// outside is what common and the stages may import beyond the standard library.
var outside = []string{"golang.org/x/sys/unix", "github.com/golang-jwt/jwt/v5"}

// offences returns what is wrong with one file of a room; an empty room is a stage.
func offences(room string, file *ast.File) []string {
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		first, _, _ := strings.Cut(path, "/")
		inner, ours := strings.CutPrefix(path, module+"/")
		switch {
		case path == "net" || path == "net/http" || strings.HasPrefix(path, "net/http/"):
			add("imports %s: these servers are made of raw sockets", path)
		case path == "log" || path == "log/slog":
			add("imports %s, which writes to stderr itself: use Config.Warn", path)
		case ours && room == "":
			if inner == "servertest" || strings.HasPrefix(inner, "servertest/") {
				add("imports servertest, which is for tests")
			}
		case ours && !slices.Contains(rooms[room], inner):
			add("%s imports %s", room, inner)
		case strings.HasPrefix(path, "fourways.example/") && !ours:
			add("imports %s: nothing of a stage or of the lab", path)
		case !ours && strings.Contains(first, ".") && !slices.Contains(outside, path):
			add("imports %s: a server depends on x/sys and golang-jwt alone", path)
		}
	}
	if room != "sock" {
		ast.Inspect(file, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok && name.Name == "EINTR" {
				add("mentions EINTR: it is retried in sock, and nowhere else")
			}
			return true
		})
	}
	if room != "cli" { // which gives the streams to accesslog, and prints the help where nothing serves
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				x, _ := n.X.(*ast.Ident)
				if x != nil && (x.Name == "os" && (n.Sel.Name == "Stdout" || n.Sel.Name == "Stderr") ||
					x.Name == "fmt" && strings.HasPrefix(n.Sel.Name, "Print")) {
					add("mentions %s.%s: what serves may not wait for a reader of stdout or stderr, use Config.Warn", x.Name, n.Sel.Name)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
					add("calls %s: what serves may not wait for a reader of stderr, use Config.Warn", f.Name)
				}
			}
			return true
		})
	}
	if room == "" {
		return found // what follows is the stages' business
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if room != "accesslog" {
				add("starts a goroutine: only the logger and the stages do")
			}
		case *ast.SelectorExpr:
			switch n.Sel.Name {
			case "LockOSThread":
				add("locks a thread: that is a stage's business")
			case "Accept", "Accept4":
				if room != "sock" {
					add("accepts: that is a stage's business")
				}
			case "EpollWait", "EpollPwait", "SYS_EPOLL_PWAIT", "SYS_EPOLL_WAIT":
				if room != "sock" {
					add("waits for events: that is a stage's business")
				}
			}
		case *ast.ForStmt, *ast.RangeStmt:
			ast.Inspect(n, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && strings.Contains(strings.ToLower(s.Sel.Name), "epoll") {
					add("a loop around %s: that is a stage's business", s.Sel.Name)
				}
				return true
			})
		}
		return true
	})
	return found
}

// folder parses a folder's Go files but for the tests.
func folder(t *testing.T, dir string) map[string]*ast.File {
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

func TestRooms(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		room := e.Name()
		if !e.IsDir() || room == "servertest" || room == "testdata" {
			continue
		}
		if _, ok := rooms[room]; !ok {
			t.Errorf("common/%s is not in the list of rooms: what may it import?", room)
			continue
		}
		for path, file := range folder(t, room) {
			for _, o := range offences(room, file) {
				t.Errorf("%s %s", path, o)
			}
		}
	}
}

func TestStages(t *testing.T) {
	stages, err := filepath.Glob("../stage[0-9]*")
	if err != nil || len(stages) == 0 {
		t.Fatal("no stages")
	}
	for _, stage := range stages {
		for path, file := range folder(t, stage) {
			for _, o := range offences("", file) {
				t.Errorf("%s %s", path, o)
			}
		}
	}
}

// The check sees what it is for.
func TestOffences(t *testing.T) {
	for _, tt := range []struct{ room, body, want string }{
		{"h1", `func f() { go f() }`, "starts a goroutine"},
		{"cli", `func f() { _ = func() { go f() } }`, "starts a goroutine"},
		{"accesslog", `func f() { go f() }`, ""},
		{"", `func f() { go f() }`, ""},
		{"cli", `import "runtime"; func f() { runtime.LockOSThread() }`, "locks a thread"},
		{"sock", `import "runtime"; func f() { runtime.LockOSThread() }`, "locks a thread"},
		{"", `import "runtime"; func f() { runtime.LockOSThread() }`, ""},
		{"cli", `func f(l L) { l.Accept(0) }`, "accepts"},
		{"sock", `import "golang.org/x/sys/unix"; func f() { unix.Accept4(0, 0) }`, ""},
		{"h1", `import "golang.org/x/sys/unix"; func f() { unix.EpollWait(0, nil, 0) }`, "waits for events"},
		{"sock", `import "golang.org/x/sys/unix"; func f() { unix.EpollWait(0, nil, 0) }`, ""},
		{"sock", `import "golang.org/x/sys/unix"; func f() { for { unix.EpollWait(0, nil, 0) } }`, "a loop around EpollWait"},
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
		{"cli", `import _ "fourways.example/stage1-iterative"`, "nothing of a stage"},
		{"", `import _ "fourways.example/common/servertest"`, "imports servertest"},
		{"", `import _ "fourways.example/common/servertest/wire"`, "imports servertest"},
		{"", `import _ "fourways.example/stage1-iterative"`, "nothing of a stage"},
		{"", `import _ "fourways.example/common/h1"`, ""},
		{"site", `import _ "github.com/golang-jwt/jwt/v5"`, ""},
		{"site", `import _ "github.com/pkg/errors"`, "imports github.com/pkg/errors"},
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+tt.body, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(offences(tt.room, file), "; ")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%q in %q: %q, want %q", tt.body, tt.room, got, tt.want)
		}
	}
}
