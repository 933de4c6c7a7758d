package exercise

import (
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fourways.example/common/servertest/cases"
	"fourways.example/common/servertest/variants"
)

// repo returns the tree of the sources.
func repo(t *testing.T) *variants.Repo {
	t.Helper()
	r, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestStubs cuts every exercise from the real code and types the solution in again.
func TestStubs(t *testing.T) {
	read := ReadFrom(repo(t).Root)
	for _, e := range Gaps() {
		stubs, err := e.Stubs(read)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range stubs {
			original, err := read(s.File)
			if err != nil {
				t.Fatal(err)
			}
			if nice, err := format.Source(s.Text); err != nil || string(nice) != string(s.Text) {
				t.Errorf("%s: gofmt would change the stub of %s: %v", e.ID, s.File, err)
			}
			if n := strings.Count(string(s.Text), e.body()); n != len(e.Cuts[i].Names) {
				t.Errorf("%s: %d bodies of %s say what is missing, want %d", e.ID, n, s.File, len(e.Cuts[i].Names))
			}
			if again, err := Restore(s.Text, original, e.Cuts[i].Names); err != nil || string(again) != string(original) {
				t.Errorf("%s: the solution typed into the stub of %s does not give the file back: %v", e.ID, s.File, err)
			}
		}
	}
}

// quoted is the length from which a line of the solution must not be in a hint, in bytes.
const quoted = 20

// TestHintsQuoteNoSolution looks for the lines of the solution in the exercise's texts.
func TestHintsQuoteNoSolution(t *testing.T) {
	read := ReadFrom(repo(t).Root)
	for _, e := range All() {
		texts := strings.Join(append(append([]string{e.Title, e.Missing}, e.Hints[:]...), e.Read...), "\n")
		for _, c := range e.Cuts {
			text, err := read(c.File)
			if err != nil {
				t.Fatal(err)
			}
			solution, err := parse(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range c.Names {
				body, err := solution.body(name)
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(body) {
					code, _, _ := strings.Cut(line, "//")
					if code = strings.TrimSpace(code); len(code) >= quoted && strings.Contains(texts, code) {
						t.Errorf("a text of %s quotes %q", e.ID, code)
					}
				}
			}
		}
	}
}

// TestTexts checks that every exercise has all its texts, a place in the order, and pages that exist.
func TestTexts(t *testing.T) {
	root := repo(t).Root
	stage, seen := 0, map[string]bool{}
	for i, e := range All() {
		if seen[e.ID] || e.ID == "" {
			t.Errorf("the ID %q is used twice", e.ID)
		}
		seen[e.ID] = true
		if e.Title == "" || e.Missing == "" || len(e.Check) == 0 || len(e.Read) == 0 {
			t.Errorf("%s: a text, a check or a reading is missing", e.ID)
		}
		if e.Bug == "" && (e.Minutes < 15 || e.Minutes > 60) { // how long a reader looks for a bug was not measured
			t.Errorf("%s: %d minutes, want 15 to 60", e.ID, e.Minutes)
		}
		if i == len(Gaps()) {
			stage = 0 // the bugs begin at the first stage again
		}
		if e.Stage < stage {
			t.Errorf("%s: stage %d comes after stage %d", e.ID, e.Stage, stage)
		}
		stage = e.Stage
		for i, h := range e.Hints {
			if h == "" {
				t.Errorf("%s: hint %d is missing", e.ID, i+1)
			}
		}
		for _, r := range e.Read {
			path, section, _ := strings.Cut(r, ", ")
			if !strings.Contains(path, "/") || strings.Contains(path, " ") {
				continue // a page of the manual, an RFC, a comment
			}
			text, err := os.ReadFile(filepath.Join(root, path))
			if err != nil {
				t.Errorf("%s: %v", e.ID, err)
			}
			if filepath.Ext(path) == ".md" && section != "" && !regexp.MustCompile(`(?m)^#+ `+regexp.QuoteMeta(section)+"$").Match(text) {
				t.Errorf("%s: %s has no section %q", e.ID, path, section)
			}
		}
	}
}

var oneName = regexp.MustCompile(`[\w-]+`)

// TestChecksExist checks that every test that an exercise names exists: go test ignores names that do not.
func TestChecksExist(t *testing.T) {
	root := repo(t).Root
	known := map[string]bool{}
	for _, c := range cases.All() {
		known[c.Name] = true
	}
	for _, e := range All() {
		for _, c := range e.Check {
			run, cases, both := strings.Cut(c.Run, "|TestConformance$/")
			if both {
				run = "TestConformance$/" + cases
			}
			test, names, sub := strings.Cut(run, "$/^")
			if sub && (test == "TestConformance" || test == "TestStep") {
				for _, name := range oneName.FindAllString(names, -1) {
					if !known[name] {
						t.Errorf("%s: there is no case %s", e.ID, name)
					}
				}
				continue
			}
			if sub {
				continue // scenarios and trials are few: the slow test sees them fail
			}
			var text strings.Builder
			files, err := filepath.Glob(filepath.Join(root, c.Dir, c.Package, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				text.Write(b)
			}
			for _, name := range oneName.FindAllString(c.Run, -1) {
				if !strings.Contains(text.String(), "\nfunc "+name+"(") {
					t.Errorf("%s: there is no test %s in %s/%s", e.ID, name, c.Dir, c.Package)
				}
			}
		}
	}
}

// TestBookNamesAll checks that the table in the book has each exercise once, and nothing else.
func TestBookNamesAll(t *testing.T) {
	const page = "docs/book/exercises.md"
	text, err := ReadFrom(repo(t).Root)(page)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]int{}
	for _, row := range regexp.MustCompile(`(?m)^\| \[\d\]\(.*\) \| (.*) \|$`).FindAllStringSubmatch(string(text), -1) {
		for id := range strings.SplitSeq(row[1], ", ") {
			named[id]++
		}
	}
	for _, e := range Gaps() {
		if named[e.ID] != 1 {
			t.Errorf("%s names the exercise %s %d times, want once", page, e.ID, named[e.ID])
		}
		delete(named, e.ID)
	}
	for id := range named {
		t.Errorf("%s names %q, which is not an exercise", page, id)
	}
}
