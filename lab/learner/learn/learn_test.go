package learn

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"fourways.example/lab/learner/learn/exercise"
)

const (
	toyCode = "// Package toy counts.\npackage toy\n\nimport \"strings\"\n\n// Count counts.\nfunc Count(s string) int {\n\treturn len(strings.Fields(s))\n}\n"
	toyTest = "package toy\n\nimport \"testing\"\n\nfunc TestCount(t *testing.T) {\n\tif n := Count(\"a b\"); n != 2 {\n\t\tt.Errorf(\"Count: %d, want 2\", n)\n\t}\n}\n"
	ownCode = "// Package toy counts.\npackage toy\n\n// Count counts.\nfunc Count(s string) int {\n\tn := 0\n\tfor _, c := range s {\n\t\tif c != ' ' {\n\t\t\tn++\n\t\t}\n\t}\n\treturn n\n}\n"
)

// toys are two exercises in a tree with one function.
func toys() []exercise.Exercise {
	e := exercise.Exercise{
		ID: "one", Title: "The first", Stage: 1, Minutes: 15, Missing: "count the words",
		Cuts:  []exercise.Functions{{File: "toy/toy.go", Names: []string{"Count"}}},
		Check: []exercise.Tests{{Dir: "toy", Package: ".", Run: "^TestCount$"}},
		Hints: [3]string{"first", "second", "third"}, Read: []string{"a page"},
	}
	two := e
	two.ID = "two"
	return []exercise.Exercise{e, two}
}

// newToy makes a tree and its working copy.
func newToy(t *testing.T) (*view, *output) {
	t.Helper()
	top := t.TempDir()
	origin := filepath.Join(top, "toys")
	write(t, filepath.Join(origin, "toy", "toy.go"), toyCode)
	write(t, filepath.Join(origin, "toy", "toy_test.go"), toyTest)
	write(t, filepath.Join(origin, "toy", "go.mod"), "module toy\n\ngo 1.26.0\n")
	write(t, filepath.Join(origin, "stage1-x", "testdata", "pitfalls", "bug", "README.md"), "# bug\n")
	copied, err := openCopy(origin, filepath.Join(top, "toys-learn"), toys())
	if err != nil {
		t.Fatal(err)
	}
	out := &output{grown: make(chan struct{}, 1)}
	return &view{out: out, width: 80, copied: copied}, out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// output collects what the reader sees.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // gets a value after each write
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	select {
	case o.grown <- struct{}{}:
	default:
	}
	return len(p), nil
}

// taken returns what was written since the last call.
func (o *output) taken() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.text.Reset()
	return o.text.String()
}

// await waits until the output has a text, and returns all of it until then.
func (o *output) await(t *testing.T, text string) string {
	t.Helper()
	for got := o.taken(); ; got += o.taken() {
		if strings.Contains(got, text) {
			return got
		}
		select {
		case <-o.grown:
		case <-t.Context().Done():
			t.Fatalf("the output has no %q:\n%s", text, got)
		}
	}
}

// TestOpenRefuses asks for working copies in folders that must stay as they are.
func TestOpenRefuses(t *testing.T) {
	v, _ := newToy(t)
	origin := v.copied.origin
	other := t.TempDir()
	write(t, filepath.Join(other, "mine.txt"), "mine")
	for dir, want := range map[string]string{
		other:                          "lab learn has not made it",
		origin:                         "lab learn has not made it",
		filepath.Join(origin, "inner"): "is inside the sources",
	} {
		if _, err := openCopy(origin, dir, toys()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", dir, err, want)
		}
	}
	if got := read(t, filepath.Join(other, "mine.txt")); got != "mine" {
		t.Errorf("a file of the refused folder holds %q", got)
	}
}

// TestCopyHasNoPitfalls checks that the copy has no texts that tell where a bug is.
func TestCopyHasNoPitfalls(t *testing.T) {
	v, _ := newToy(t)
	if _, err := os.Stat(filepath.Join(v.copied.origin, "stage1-x", "testdata", "pitfalls")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(v.copied.path("stage1-x/testdata/pitfalls")); err == nil {
		t.Error("the copy has the folder of the pitfalls")
	}
}

// TestWorkIsSaved begins exercises after the reader has changed files.
func TestWorkIsSaved(t *testing.T) {
	v, _ := newToy(t)
	file := v.copied.path("toy/toy.go")
	stub := read(t, file)
	if saved, err := v.copied.start("two"); saved != "" || err != nil {
		t.Errorf("without a change: saved %q, %v", saved, err)
	}
	seen := map[string]bool{}
	for range 2 { // two in one second must not share a folder
		write(t, file, ownCode)
		write(t, v.copied.path("toy/more.go"), "package toy\n")
		saved, err := v.copied.start("one")
		if err != nil || saved == "" || seen[saved] {
			t.Fatalf("saved %q, %v; want a new folder", saved, err)
		}
		seen[saved] = true
		if got := read(t, filepath.Join(saved, "toy", "toy.go")); got != ownCode {
			t.Errorf("saved:\n%s", got)
		}
		if got := read(t, filepath.Join(saved, "toy", "more.go")); got != "package toy\n" {
			t.Errorf("saved: %q", got)
		}
		if _, err := os.Stat(v.copied.path("toy/more.go")); err == nil {
			t.Error("the reader's file is still in the copy")
		}
		if got := strings.ReplaceAll(read(t, file), "exercise one", "exercise two"); got != strings.ReplaceAll(stub, "exercise one", "exercise two") {
			t.Errorf("after start:\n%s", got)
		}
	}
	if saved, err := v.copied.start("none"); err == nil || saved != "" {
		t.Errorf("start of an exercise that does not exist: saved %q, %v", saved, err)
	}
}

// TestPlaceIsKept opens a working copy again.
func TestPlaceIsKept(t *testing.T) {
	v, _ := newToy(t)
	if _, err := v.copied.start("two"); err != nil {
		t.Fatal(err)
	}
	if err := v.hint(); err != nil {
		t.Fatal(err)
	}
	write(t, v.copied.path("toy/toy.go"), ownCode)
	again, err := openCopy(v.copied.origin, v.copied.dir, toys())
	if err != nil || again.state.Exercise != "two" || again.state.Hints != 1 {
		t.Errorf("%+v, %v; want exercise two with one hint", again, err)
	}
	if got := read(t, again.path("toy/toy.go")); got != ownCode {
		t.Errorf("the reader's file has changed:\n%s", got)
	}
}

// TestNext checks that the next exercise is one that is not solved, and that an exercise can be named by its number.
func TestNext(t *testing.T) {
	v, _ := newToy(t)
	if _, err := v.copied.start("2"); err != nil || v.copied.state.Exercise != "two" {
		t.Fatalf("start 2: %v, at %q; want two", err, v.copied.state.Exercise)
	}
	for _, want := range []string{"one", ""} {
		if err := v.copied.solved(); err != nil {
			t.Fatal(err)
		}
		got := ""
		if next := v.copied.next(); next != nil {
			got = next.ID
		}
		if got != want {
			t.Errorf("after %q, the next exercise is %q, want %q", v.copied.state.Solved, got, want)
		}
		if want != "" {
			if _, err := v.copied.start(want); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestHints asks for one hint more than there are.
func TestHints(t *testing.T) {
	v, out := newToy(t)
	for i, want := range []string{"Hint 1 of 3: first\n", "Hint 2 of 3: second\n", "Hint 3 of 3: third\n", "Hint 1: first\nHint 2: second\nHint 3: third\n"} {
		if err := v.hint(); err != nil {
			t.Fatal(err)
		}
		if got := out.taken(); !strings.HasPrefix(got, want) {
			t.Errorf("hint %d: %q, want %q", i+1, got, want)
		}
	}
}

// TestCheck checks a stub, code that does not compile, wrong code, and code that is right in another way.
func TestCheck(t *testing.T) {
	v, out := newToy(t)
	right := strings.Replace(ownCode, "c != ' '", "c == 'a' || c == 'b'", 1)
	for _, row := range []struct {
		name, code string
		passes     bool
		want       []string
	}{
		{"stub", "", false, []string{"exercise 1 of 2: one", "panic: exercise one: count the words", "building and playing toy, TestCount …\n", "at toy/toy.go:6", "not yet"}},
		{"no Go", "package toy\n\nfunc Count(s string) int { return s }\n", false, []string{"toy.go:3:35", "not yet"}},
		{"wrong", strings.Replace(right, "return n", "return n + 1", 1), false, []string{"Count: 3, want 2", "not yet"}},
		{"right", right, true, []string{"TestCount …\n-- solved (", "your code  ", "c == 'a'", "| the real code", "|   return len(strings.Fields(s))", "1 solved", "Next: two"}},
		{"the same", toyCode, true, []string{"Your code is the real code of toy/toy.go."}},
	} {
		if row.code != "" {
			write(t, v.copied.path("toy/toy.go"), row.code)
		}
		passed, err := v.check(t.Context())
		got := out.taken()
		if err != nil || passed != row.passes {
			t.Errorf("%s: passed %v, %v", row.name, passed, err)
		}
		for _, want := range row.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: there is no %q in\n%s", row.name, want, got)
			}
		}
	}
}

// TestWatch saves files and types letters.
func TestWatch(t *testing.T) {
	v, out := newToy(t)
	keyboard, letters := io.Pipe()
	end := make(chan error)
	go func() { end <- v.watch(t.Context(), keyboard) }()
	typeIn := func(s string) {
		if _, err := letters.Write([]byte(s + "\n")); err != nil {
			t.Error(err)
		}
	}
	out.await(t, keys)
	write(t, v.copied.path("toy/toy.go"), ownCode+"\nvar x int = \"\"\n")
	out.await(t, "not yet")
	typeIn("h")
	out.await(t, "Hint 1 of 3: first")
	// An editor may write a new file and rename it.
	write(t, v.copied.path("toy/toy.go~"), toyCode)
	if err := os.Rename(v.copied.path("toy/toy.go~"), v.copied.path("toy/toy.go")); err != nil {
		t.Fatal(err)
	}
	out.await(t, "Next: two")
	typeIn("n")
	out.await(t, "exercise 2 of 2: two")
	typeIn("c")
	out.await(t, "not yet")
	typeIn("q")
	if err := <-end; err != nil {
		t.Error(err)
	}
}

// TestSideBySide compares texts in columns, and texts that are too wide for them.
func TestSideBySide(t *testing.T) {
	got, ok := sideBySide("L", "a {\n\tb\n}", "R", "c", 23)
	if want := "L          | R\n           |\na {        | c\n  b        |\n}          |\n"; got != want || !ok {
		t.Errorf("got %q, %v; want %q", got, ok, want)
	}
	if got, ok := sideBySide("L", strings.Repeat("x", 11), "R", "", 23); ok {
		t.Errorf("11 characters fit into 10: %q", got)
	}
}

// TestBroken breaks lines of code.
func TestBroken(t *testing.T) {
	for _, row := range []struct{ code, want string }{
		{"short\n\tcode", "short\n    code"},
		{"call(one, two, three, four)", "call(one, two,\n        three, four)"},
		{"x := unix.ENONET,unix.EIO", "x := unix.ENONET,\n        unix.EIO"},
		{"\t\tcall(one, two, three)", "        call(one,\ntwo, three)"},
		{strings.Repeat("x", 25), strings.Repeat("x", 20) + "\n        xxxxx"},
	} {
		if got := broken(row.code, 20); got != row.want {
			t.Errorf("got\n%s\nwant\n%s", got, row.want)
		}
	}
}
