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
	t.Parallel() // each has a copy of the tree
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

// TestSlowBugs puts each bug into a copy of the tree: its check must fail without telling the bug's name, refuse all
// half fixes, and pass in the real code and in the same code without its comments.
func TestSlowBugs(t *testing.T) {
	slow.Test(t)
	t.Parallel() // each has a copy of the tree
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
			for _, s := range stubs { // what a reader has who finds the bug
				real, err := ReadFrom(from)(s.File)
				if err != nil {
					t.Fatal(err)
				}
				if real, err = quiet(real); err != nil {
					t.Fatal(err)
				}
				put(t, root, s.File, real)
			}
			start := time.Now()
			grade(t, root, &e, true, "the fix")
			t.Logf("the check takes %.1f s with the build; a reader waits for it after each save", time.Since(start).Seconds())
			for _, s := range stubs {
				put(t, root, s.File, s.Text)
			}
			passed, output, err := e.Grade(t.Context(), root)
			if err != nil || passed || !strings.Contains(output, "→") || !strings.Contains(output, e.ID) {
				t.Errorf("with the bug: passed %v, %v; want a transcript:\n%s", passed, err, output)
			}
			if strings.Contains(output, e.Bug) || strings.Contains(output, "usually means") {
				t.Errorf("the output tells which bug it is:\n%s", output)
			}
			for _, h := range halves[e.Bug] {
				refuse(t, root, &e, h)
			}
			for _, s := range stubs {
				original, err := ReadFrom(from)(s.File)
				if err != nil {
					t.Fatal(err)
				}
				put(t, root, s.File, original)
			}
		})
	}
}

// refuse checks that a half fix does not pass.
func refuse(t *testing.T, root string, e *Exercise, h half) {
	t.Helper()
	bad, err := ReadFrom(root)(h.file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(bad)
	for i := 0; i < len(h.edits); i += 2 {
		if strings.Count(text, h.edits[i]) != 1 {
			t.Fatalf("half fix %q: %q is not in %s once", h.name, h.edits[i], h.file)
		}
		text = strings.Replace(text, h.edits[i], h.edits[i+1], 1)
	}
	put(t, root, h.file, []byte(text))
	defer put(t, root, h.file, bad)
	passed, output, err := e.Grade(t.Context(), root)
	switch {
	case err != nil:
		t.Fatal(err)
	case passed:
		t.Errorf("half fix %q passes", h.name)
	case !strings.Contains(output, "--- FAIL"):
		t.Errorf("half fix %q does not build, or no test refuses it:\n%s", h.name, output)
	default:
		t.Logf("half fix %q: refused by %s", h.name, failed(output))
	}
}

// failed returns the tests that have failed.
func failed(output string) string {
	var names []string
	for line := range strings.Lines(output) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// put writes a file of a tree.
func put(t *testing.T, root, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(file)), text, 0o644); err != nil {
		t.Fatal(err)
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
	put(t, root, c.File, solved)
}
