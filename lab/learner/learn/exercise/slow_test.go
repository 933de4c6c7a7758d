package exercise

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/learn/tree"
	"fourways.example/lab/support/slow"
)

// TestSlowExercises proves each exercise in a copy of the tree: the stub compiles, passes go vet and fails its own check;
// the solution typed in over the stub is the real code, and passes. That a stub passes the checks of all exercises before
// it follows from TestSlowOrder in package handout: there these checks pass although this exercise and all later ones are
// missing.
func TestSlowExercises(t *testing.T) {
	slow.Test(t)
	from, root := repo(t).Root, t.TempDir()
	if err := tree.Copy(from, root, nil); err != nil {
		t.Fatal(err)
	}
	only := os.Getenv("EXERCISE") // for work on one exercise
	for _, e := range Gaps() {
		if only != "" && e.ID != only {
			continue
		}
		t.Run(e.ID, func(t *testing.T) {
			if err := e.Apply(root); err != nil {
				t.Fatal(err)
			}
			vet(t, root, &e)
			grade(t, root, &e, false, "its stub")
			for _, c := range e.Cuts {
				solve(t, from, root, c)
			}
			start := time.Now()
			grade(t, root, &e, true, "the real code")
			t.Logf("the check takes %.1f s; a reader waits for it after each save", time.Since(start).Seconds())
		})
	}
}

// TestSlowBugs puts each bug into a copy of the tree: its check must fail without telling the bug's name, and pass in the
// real code.
func TestSlowBugs(t *testing.T) {
	slow.Test(t)
	from, root := repo(t).Root, t.TempDir()
	if err := tree.Copy(from, root, tree.Pitfalls); err != nil {
		t.Fatal(err)
	}
	for _, e := range Bugs() {
		t.Run(e.ID, func(t *testing.T) {
			grade(t, root, &e, true, "the real code")
			stubs, err := e.Stubs(ReadFrom(from))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range stubs {
				if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(s.File)), s.Text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			passed, output, err := e.Grade(t.Context(), root)
			if err != nil || passed || !strings.Contains(output, "→") {
				t.Errorf("with the bug: passed %v, %v; want a transcript:\n%s", passed, err, output)
			}
			if strings.Contains(output, e.Bug) || strings.Contains(output, "usually means") {
				t.Errorf("the output tells which bug it is:\n%s", output)
			}
			for _, s := range stubs {
				original, err := ReadFrom(from)(s.File)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(s.File)), original, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// grade runs a check, and reports an outcome that it must not have.
func grade(t *testing.T, root string, e *Exercise, want bool, code string) {
	t.Helper()
	switch passed, output, err := e.Grade(t.Context(), root); {
	case err != nil:
		t.Fatal(err)
	case passed != want && want:
		t.Errorf("%s fails the check of %s:\n%s", code, e.ID, output)
	case passed != want:
		t.Errorf("%s passes the check of %s", code, e.ID)
	case !passed && strings.Contains(output, "[build failed]"):
		t.Errorf("%s does not compile:\n%s", code, output)
	}
}

// vet runs go vet on the packages of the exercise's files.
func vet(t *testing.T, root string, e *Exercise) {
	t.Helper()
	for _, c := range e.Cuts {
		dir := filepath.Dir(filepath.FromSlash(c.File))
		if strings.Contains(c.File, "/testdata/steps/") {
			copied := &variants.Repo{Root: root}
			if err := copied.VetStep(t.Context(), filepath.Base(dir), t.TempDir()); err != nil {
				t.Error(err)
			}
			continue
		}
		cmd := exec.CommandContext(t.Context(), "go", "vet", ".")
		cmd.Dir = filepath.Join(root, dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go vet in %s: %v\n%s", dir, err, out)
		}
	}
}

// solve types the real code in over the stub, and compares the result with the real file.
func solve(t *testing.T, from, root string, c Functions) {
	t.Helper()
	original, err := ReadFrom(from)(c.File)
	if err != nil {
		t.Fatal(err)
	}
	stub, err := ReadFrom(root)(c.File)
	if err != nil {
		t.Fatal(err)
	}
	solved, err := Restore(stub, original, c.Names)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(solved, original) {
		t.Errorf("%s: the solution typed in is not the real file", c.File)
	}
	if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(c.File)), solved, 0o644); err != nil {
		t.Fatal(err)
	}
}
