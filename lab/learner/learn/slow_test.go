package learn

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/learn/exercise"
	"fourways.example/lab/support/slow"
)

// TestSlowLearn runs the program as a reader does: it begins an exercise, fails, pastes the solution, passes, and goes
// to the next exercise.
func TestSlowLearn(t *testing.T) {
	slow.Test(t)
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	program, dir := filepath.Join(top, "lab"), filepath.Join(top, "copy")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "fourways.example/lab").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	lab := func(passes bool, words ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, append([]string{"learn"}, words...)...)
		cmd.Dir = repo.Root
		if words[0] != "list" { // in the copy, no flag is needed
			cmd.Args = append(cmd.Args, "--dir", dir)
		}
		if words[0] == "list" {
			cmd.Dir = dir
		}
		out, err := cmd.CombinedOutput()
		if (err == nil) != passes {
			t.Fatalf("lab learn %s: %v\n%s", strings.Join(words, " "), err, out)
		}
		return string(out)
	}
	want := func(out, text string) {
		t.Helper()
		if !strings.Contains(out, text) {
			t.Errorf("there is no %q in\n%s", text, out)
		}
	}
	want(lab(true, "start", "accept-errors"), "ClassifyAcceptError in common/sock/listener.go")
	failed := lab(false, "check")
	want(failed, "panic: exercise accept-errors: ")
	if !strings.HasSuffix(failed, " s)\n") || strings.Contains(failed, "lab: error") {
		t.Errorf("the output does not end with the result:\n%s", failed)
	}
	want(lab(true, "hint"), "Hint 1 of 3")
	file := filepath.FromSlash("common/sock/listener.go")
	write(t, filepath.Join(dir, file), strings.Replace(read(t, filepath.Join(repo.Root, file)), "return BackOff", "return Retry", 1))
	want(lab(false, "check"), "TestClassifyAcceptError")
	write(t, filepath.Join(dir, file), read(t, filepath.Join(repo.Root, file)))
	want(lab(true, "check"), "Next: iterative")
	want(lab(true, "start", "iterative"), "One connection after the other")
	want(lab(true, "list"), "[x]  6  accept-errors")
	want(lab(true, "solution"), "func Serve(")
	all := exercise.All()
	want(lab(true, "start", all[0].ID), all[0].Title)
}
