package faults

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fourways.example/common/servertest/variants"
)

// callOf has the system calls of the functions in x/sys/unix whose names are not those of the calls.
var callOf = map[string]string{
	"Accept4": "accept4", "EpollCreate1": "epoll_create1", "EpollCtl": "epoll_ctl", "Eventfd": "eventfd2", "Faccessat": "faccessat2",
	"GetsockoptInt": "getsockopt", "IoctlGetInt": "ioctl", "SetsockoptInt": "setsockopt", "SetsockoptLinger": "setsockopt",
	"SetsockoptTimeval": "setsockopt", "Getrlimit": "getrlimit", "Fstatat": "newfstatat", "SYS_EPOLL_PWAIT": "epoll_pwait",
}

// pure lists functions of x/sys/unix that make no system call of their own.
var pure = map[string]bool{
	"Syscall6": true, "RawSyscall": true, "RawSyscall6": true, "NsecToTimeval": true, "NsecToTimespec": true, "Errno": true, "ByteSliceToString": true,
}

// TestEveryCallHasRows checks that each system call in the sources of the servers has a row or an exemption. The
// census of `lab faults` does the same for the calls that running servers make.
func TestEveryCallHasRows(t *testing.T) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	known := covered()
	found := 0
	for _, pattern := range []string{"common/*/*.go", "stage[1-4]-*/*.go"} {
		files, err := filepath.Glob(filepath.Join(repo.Root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "servertest") {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for name, at := range unixCalls(file) {
				found++
				if !known[name] {
					t.Errorf("%s: %s has no row in rows.go", set.Position(at), name)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d calls in the sources: the test does not find them", found)
	}
}

// unixCalls returns the system calls that a file names, by the functions and constants of x/sys/unix.
func unixCalls(file *ast.File) map[string]token.Pos {
	calls := map[string]token.Pos{}
	ast.Inspect(file, func(n ast.Node) bool {
		var sel *ast.SelectorExpr
		switch n := n.(type) {
		case *ast.CallExpr:
			sel, _ = n.Fun.(*ast.SelectorExpr)
		case *ast.SelectorExpr:
			if strings.HasPrefix(n.Sel.Name, "SYS_") {
				sel = n
			}
		}
		if sel == nil {
			return true
		}
		x, _ := sel.X.(*ast.Ident)
		name := sel.Sel.Name
		if x == nil || x.Name != "unix" && x.Name != "syscall" || pure[name] {
			return true
		}
		call, ok := callOf[name]
		if !ok {
			call = strings.ToLower(strings.TrimPrefix(name, "SYS_"))
		}
		calls[call] = sel.Pos()
		return true
	})
	return calls
}

// TestTable checks that a table can be read again, and that a different outcome is found.
func TestTable(t *testing.T) {
	all := rows()[:3]
	got := []result{
		{outcomes: map[int]string{1: "a: b, c", 2: "a: b, c", 3: "a: b, c", 4: "a: b, c"}},
		{outcomes: map[int]string{1: "x", 2: "y", 3: "x", 4: "z: stage 4"}},
		{outcomes: map[int]string{4: "only"}},
	}
	doc := "before\n" + tableBegin + "\n" + writeTable(all, got) + tableEnd + "\nafter\n"
	want, err := readTable(doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := compare(all, got, want); err != nil {
		t.Errorf("the table differs from itself: %v", err)
	}
	got[1].outcomes[2] = "other"
	if err := compare(all, got, want); err == nil || !strings.Contains(err.Error(), `stage 2`) {
		t.Errorf("a different outcome in stage 2: %v", err)
	}
	if _, err := readTable("no table"); err == nil {
		t.Error("a document without a table is read")
	}
}

// TestRowsDiffer checks that no two rows have the same key, by which the table is compared.
func TestRowsDiffer(t *testing.T) {
	seen := map[string]bool{}
	quick := 0
	for _, r := range rows() {
		if seen[r.key()] {
			t.Errorf("two rows for %s", r.key())
		}
		seen[r.key()] = true
		if r.quick {
			quick++
		}
		if strings.Contains(r.call+r.what, "|") {
			t.Errorf("%s would break the table", r.key())
		}
	}
	if quick < 35 {
		t.Errorf("only %d rows are in the short form", quick)
	}
}

// document returns docs/security.md.
func document(t *testing.T) string {
	t.Helper()
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(repo.Root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestBounds checks that docs/security.md has the amounts that are in the sources, and that the flags, claims, trials
// and tests in the table exist.
func TestBounds(t *testing.T) {
	table, err := boundsTable()
	if err != nil {
		t.Fatal(err)
	}
	got, err := between(document(t), boundsBegin, boundsEnd)
	if err != nil {
		t.Fatal(err)
	}
	if got != table {
		t.Errorf("the table of bounds in docs/security.md is not that of the sources; write it anew: bin/lab faults --bounds\n%s", cmp.Diff(got, table))
	}
}

// TestDocument checks that docs/security.md has a row for each fault. The outcomes need strace, see `lab faults --check`.
func TestDocument(t *testing.T) {
	table, err := readTable(document(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows() {
		if len(table[r.key()]) == 0 {
			t.Errorf("docs/security.md has no row for %s: run make faults", r.key())
		}
	}
}
