package learn

import (
	"encoding/json"
	"os"
	slashpath "path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/learn/exercise"
	"fourways.example/lab/learner/learn/tree"
)

// TestRefresh changes the repository while a reader works in the copy.
func TestRefresh(t *testing.T) {
	v, out := newToy(t)
	origin := v.copied.origin
	refreshed := func(want string) {
		t.Helper()
		if err := v.refresh(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(out.taken()), " "); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("said %q, want %q", got, want)
		}
	}
	refreshed("")
	write(t, filepath.Join(origin, "toy", "toy_test.go"), toyTest+"\n// new\n")
	write(t, filepath.Join(origin, "new.txt"), "new\n")
	if saved, err := v.copied.start("two"); saved != "" || err != nil {
		t.Errorf("the reader has changed nothing: saved %q, %v", saved, err)
	}
	if got := read(t, v.copied.path("new.txt")); got != "new\n" {
		t.Errorf("new.txt: %q", got)
	}

	write(t, v.copied.path("toy/toy.go"), ownCode)
	write(t, filepath.Join(origin, "toy", "toy_test.go"), toyTest+"\n// newer\n")
	if err := os.Remove(filepath.Join(origin, "new.txt")); err != nil {
		t.Fatal(err)
	}
	refreshed("has its new files now")
	if got := read(t, v.copied.path("toy/toy_test.go")); !strings.Contains(got, "newer") {
		t.Errorf("the test is old:\n%s", got)
	}
	if _, err := os.Stat(v.copied.path("new.txt")); err == nil {
		t.Error("new.txt is still there")
	}
	refreshed("")

	write(t, filepath.Join(origin, "toy", "toy.go"), toyCode+"\n// new\n")
	refreshed("a new version of toy/toy.go, which you have changed")
	if got := read(t, v.copied.path("toy/toy.go")); got != ownCode {
		t.Errorf("the reader's file is now\n%s", got)
	}
	saved, err := v.copied.start("two")
	if err != nil || saved == "" {
		t.Fatalf("saved %q, %v", saved, err)
	}
	if got := read(t, filepath.Join(saved, "toy", "toy.go")); got != ownCode {
		t.Errorf("saved:\n%s", got)
	}
	if entries, err := os.ReadDir(filepath.Join(saved, "toy")); err != nil || len(entries) != 1 {
		t.Errorf("saved %v, %v; want only toy.go", entries, err)
	}
	refreshed("")
}

// TestFormerState opens a copy that a version without hashes and without a list of what is left out has made.
func TestFormerState(t *testing.T) {
	v, _ := newToy(t)
	page := "[bug](../../stage1-x/testdata/pitfalls/bug/README.md)\n"
	for _, root := range []string{v.copied.origin, v.copied.dir} {
		write(t, filepath.Join(root, "docs", "book", "1.md"), page)
		write(t, filepath.Join(root, "docs", "other", "1.md"), page)
	}
	var old map[string]any
	if err := json.Unmarshal([]byte(read(t, v.copied.path(stateFile))), &old); err != nil {
		t.Fatal(err)
	}
	delete(old, "written")
	text, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	write(t, v.copied.path(stateFile), string(text))
	again, err := openCopy(v.copied.origin, v.copied.dir, toys())
	if err != nil {
		t.Fatal(err)
	}
	if note, err := again.refresh(); note != "" || err != nil {
		t.Errorf("said %q, %v", note, err)
	}
	if saved, err := again.start("two"); saved != "" || err != nil {
		t.Errorf("saved %q, %v", saved, err)
	}
	if _, err := os.Stat(again.path("docs/book/1.md")); err == nil {
		t.Error("the book is still there")
	}
	if got := read(t, again.path("docs/other/1.md")); got != "bug\n" {
		t.Errorf("the page is %q", got)
	}
	if again.state.Written["toy/toy.go"] == "" {
		t.Error("the state has no hash of toy/toy.go")
	}
}

// code matches the files in which the code of other exercises stands, complete.
var code = regexp.MustCompile(`^(common/[a-z0-9]+/|stage[1-4]-[a-z]+/(testdata/steps/4[abc]/)?)[a-z]+\.go$`)

// realSources returns the files of the copy of the real tree, for an exercise.
func realSources(t *testing.T, e *exercise.Exercise) (origin string, files map[string]file) {
	t.Helper()
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	c := &workCopy{origin: repo.Root, all: []exercise.Exercise{*e}, state: state{Exercise: e.ID}}
	files, err = c.sources()
	if err != nil {
		t.Fatal(err)
	}
	return repo.Root, files
}

// TestCopyShowsNoSolution looks for the solution of each exercise in its working copy, outside the code of the servers.
func TestCopyShowsNoSolution(t *testing.T) {
	for _, e := range exercise.Gaps() {
		origin, files := realSources(t, &e)
		for _, c := range e.Cuts {
			solution, err := bodies(origin, c)
			if err != nil {
				t.Fatal(err)
			}
			lines := telling(solution)
			for name, f := range files {
				if code.MatchString(name) && name != c.File {
					continue
				}
				text := "\n" + strings.Join(telling(string(f.text)), "\n") + "\n"
				for i := range max(0, len(lines)-together+1) {
					part := strings.Join(lines[i:i+together], "\n")
					if len(part) >= 40 && strings.Contains(text, "\n"+part+"\n") { // shorter ones are no solution: return err
						t.Errorf("%s: %s shows\n%s", e.ID, name, part)
					}
				}
			}
		}
	}
}

// together is the number of lines, one after the other, that show a solution.
const together = 4

// telling returns the lines of a text that say something: no comments, and no lone braces.
func telling(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		said, _, _ := strings.Cut(line, "//")
		if said = strings.TrimSpace(said); len(said) > len("} else {") && !strings.HasPrefix(said, "func ") {
			lines = append(lines, said)
		}
	}
	return lines
}

// TestCopyHasNoDeadLinks follows the links between the pages of the copy, and looks for the pages that the exercises
// name.
func TestCopyHasNoDeadLinks(t *testing.T) {
	all := exercise.All()
	origin, files := realSources(t, &all[0]) // the pages are the same in all exercises
	has := func(path string) bool {
		if _, ok := files[path]; ok {
			return true
		}
		info, err := os.Stat(filepath.Join(origin, filepath.FromSlash(path)))
		return err == nil && info.IsDir() && !hidden(path)
	}
	for name, f := range files {
		for _, m := range tree.Link.FindAllStringSubmatch(string(f.text), -1) {
			if filepath.Ext(name) == ".md" && !strings.Contains(m[3], "://") && !has(slashpath.Join(slashpath.Dir(name), m[3])) {
				t.Errorf("%s: the link %s leads nowhere", name, m[0])
			}
		}
	}
	for _, e := range all {
		for _, r := range e.Read {
			path, _, _ := strings.Cut(r, ", ")
			if strings.Contains(path, "/") && !strings.Contains(path, " ") && !has(path) && !hidden(path) {
				t.Errorf("%s: the copy has no %s", e.ID, path)
			}
		}
	}
}

// TestReading names a page that the copy does not have.
func TestReading(t *testing.T) {
	v, _ := newToy(t)
	e := &exercise.Exercise{Read: []string{"docs/spec.md, Flags", "docs/book/1.md, Bytes", "ipv6(7)"}}
	if got, want := v.reading(e), "docs/spec.md, Flags; "+v.copied.origin+"/docs/book/1.md, Bytes; ipv6(7)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
