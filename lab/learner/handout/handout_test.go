package handout

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/learn/exercise"
)

// source returns the root of the real tree.
func source(t *testing.T) string {
	t.Helper()
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	return repo.Root
}

// files returns the text of all Go files and pages of a tree, by their paths.
func files(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[filepath.ToSlash(strings.TrimPrefix(path, root+"/"))] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestHandoutHasNoSolutions makes the tree for each stage, and looks for the code of the exercises and for what else
// must not be there.
func TestHandoutHasNoSolutions(t *testing.T) {
	root := source(t)
	for stage := 1; stage < len(stages.Dirs); stage++ {
		out := filepath.Join(t.TempDir(), "handout")
		if err := Make(root, out, stage); err != nil {
			t.Fatal(err)
		}
		all := files(t, out)
		for path := range all {
			for n := stage + 1; n < len(stages.Dirs); n++ {
				if strings.HasPrefix(path, stages.Dirs[n]+"/") {
					t.Errorf("stage %d: there is %s", stage, path)
				}
			}
			if strings.HasPrefix(path, ".git/") || strings.HasPrefix(path, "stage") && strings.Contains(path, "/pitfalls/") {
				t.Errorf("stage %d: there is %s", stage, path)
			}
		}
		for _, e := range exercise.Gaps() {
			if e.Stage > stage {
				continue
			}
			if !strings.Contains(all["README.md"], "("+e.ID+")\n") {
				t.Errorf("stage %d: README.md does not have exercise %s", stage, e.ID)
			}
			for _, c := range e.Cuts {
				for _, name := range c.Names {
					notThere(t, all, root, c.File, name)
				}
			}
		}
	}
}

// notThere checks that no file of the tree has the function.
func notThere(t *testing.T, all map[string]string, root, file, name string) {
	t.Helper()
	text, err := exercise.ReadFrom(root)(file)
	if err != nil {
		t.Fatal(err)
	}
	code, err := exercise.Bodies(text, []string{name})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range all {
		if strings.Contains(text, code) {
			t.Errorf("%s has %s, as %s has it", path, name, file)
		}
	}
}

// TestMakeRefuses asks for trees that cannot be made.
func TestMakeRefuses(t *testing.T) {
	root, used := source(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "mine.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"is not empty":        Make(root, used, 1),
		"there is no stage 0": Make(root, filepath.Join(used, "a"), 0),
		"there is no stage 5": Make(root, filepath.Join(used, "b"), 5),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestParseOmitted reads the list of the tests that a handout leaves out.
func TestParseOmitted(t *testing.T) {
	for _, bad := range []string{"a_test.go TestA", "a_test.go: reason", "reason"} {
		if got, err := parseOmitted(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
	got, err := parseOmitted("# comment\n\na_test.go TestA: the reason: it\n")
	if err != nil || len(got) != 1 || got[0] != (omission{"a_test.go", "TestA", "the reason: it"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestAdapt leaves a target out of a Makefile, and notices one that is gone.
func TestAdapt(t *testing.T) {
	var all []string
	for _, k := range kept {
		all = append(all, k+": ## does it\n\tdo "+k)
	}
	text := strings.Join(append(all, "live: build ## plays\n\tlab live", ".PHONY: help live"), "\n\n")
	got, err := adapt(text)
	want := strings.Join(append(all, ".PHONY: "+strings.Join(kept, " ")), "\n\n")
	if err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
	if _, err := adapt(strings.Replace(text, "vet:", "wet:", 1)); err == nil || !strings.Contains(err.Error(), "vet") {
		t.Errorf("without vet: %v", err)
	}
}
