package learn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/learn/exercise"
)

// TestViewOfBugs looks at what a reader sees of the bugs: their own part of the list, the task, and the fix.
func TestViewOfBugs(t *testing.T) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	v := &view{out: &out, width: 80, copied: &workCopy{origin: repo.Root, dir: t.TempDir(), all: exercise.All(), state: state{Exercise: "bug-3"}}}
	v.list()
	stages, bugs, ok := strings.Cut(out.String(), "\nbugs to find\n")
	if !ok || strings.Count(stages, "stage 1\n") != 1 || strings.Contains(bugs, "\nstage ") || strings.Contains(stages, "bug-") {
		t.Errorf("the bugs have no part of their own:\n%s", out.String())
	}
	if strings.Contains(bugs, " min") {
		t.Errorf("the list says how long bugs take:\n%s", bugs)
	}
	out.Reset()
	if err := v.task(); err != nil || strings.Contains(out.String(), "min;") || !strings.Contains(out.String(), "comments") {
		t.Errorf("%v; the task is\n%s", err, out.String())
	}
	out.Reset()
	if err := v.solution(); err != nil {
		t.Fatal(err)
	}
	_, page, ok := strings.Cut(out.String(), "More, in the repository: ")
	if _, err := os.Stat(filepath.Join(repo.Root, strings.TrimSpace(page))); !ok || err != nil {
		t.Errorf("%v; the fix is\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "The fault: the server waits") || !strings.Contains(out.String(), "\n-\t\treturn n, nil") {
		t.Errorf("the fix is\n%s", out.String())
	}
}
