package book

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fourways.example/common/servertest/pitfalls"
	"fourways.example/lab/learner/book/site"
)

const repo = "../../.."

// TestBook checks that the committed Markdown and pages are what the sources give. (`make book CHECK=1` also runs the
// console blocks.)
func TestBook(t *testing.T) {
	changed, err := Make(repo, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range Stale(changed) {
		t.Error(message)
	}
}

// TestMake checks, in a copy, that a changed line of a stage is noticed in the chapter and in the pages, and that
// Make mends it and removes pages that no source has.
func TestMake(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"docs", "stage1-iterative", "stage2-threadpool", "stage3-dualstack", "stage4-epoll", "common", "lab"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(repo, name))); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(repo, "CONTRIBUTING.md")) // the book links it
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "CONTRIBUTING.md"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	server := filepath.Join(dir, "stage1-iterative", "server.go")
	text, err = os.ReadFile(server)
	if err != nil {
		t.Fatal(err)
	}
	changedText := strings.Replace(string(text), "conn := w.Open(s)", "conn := w.Open(s) // changed", 1)
	if changedText == string(text) {
		t.Fatal("stage 1 does not have the line that this test changes")
	}
	stray := filepath.Join(dir, site.Folder, "stray.html")
	for name, text := range map[string]string{server: changedText, stray: "x"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	changed, err := Make(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range changed {
		names = append(names, c.Name)
	}
	got := strings.Join(names, " ")
	for _, want := range []string{"docs/book/1-short-reads.md", "docs/site/book/1-short-reads.html", "docs/site/book/stray.html"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not reported: %s", want, got)
		}
	}
	messages := strings.Join(Stale(changed), "\n")
	for _, want := range []string{"docs/book/1-short-reads.md:", `section "What stage 1 cannot do"`} {
		if !strings.Contains(messages, want) {
			t.Errorf("no message names %s:\n%s", want, messages)
		}
	}
	for _, other := range []string{"A stream has no messages", ".html"} { // whose code has not changed, or that follows from the Markdown
		if strings.Contains(messages, other) {
			t.Errorf("a message names %s:\n%s", other, messages)
		}
	}
	if _, err := Make(dir, false); err != nil {
		t.Fatal(err)
	}
	if changed, err = Make(dir, true); err != nil || len(changed) > 0 {
		t.Errorf("after Make, %v still differ: %v", changed, err)
	}
	if _, err := os.Stat(stray); err == nil {
		t.Error("a page without a source is still there")
	}
}

// TestPitfallNames checks that the chapters name only pitfalls that `make pitfall` knows.
func TestPitfallNames(t *testing.T) {
	pages, err := Chapters(repo)
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, p := range pages {
		for _, m := range regexp.MustCompile(`\bP=([\w-]+)`).FindAllStringSubmatch(p.Text, -1) {
			named++
			if _, ok := pitfalls.ScenarioOf(m[1]); !ok {
				t.Errorf("%s: there is no pitfall %q; make pitfall lists them", p.Path, m[1])
			}
		}
	}
	if named < 5 {
		t.Errorf("the chapters name %d pitfalls, want some: has make pitfall another form now?", named)
	}
}
