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
	"fourways.example/lab/learner/learn/tree"
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
		}
		known := solutions(t, root, upTo(stage))
		for path, text := range all {
			for part := range parts(text) {
				if id, ok := known[part]; ok {
					t.Errorf("stage %d: %s shows a part of %s:\n%s", stage, path, id, part)
				}
			}
			for _, m := range tree.Link.FindAllStringSubmatch(text, -1) {
				if _, err := os.Stat(filepath.Join(out, filepath.Dir(path), m[3])); err != nil && filepath.Ext(path) == ".md" && !strings.Contains(m[3], "://") {
					t.Errorf("stage %d: %s: the link %s leads nowhere", stage, path, m[0])
				}
			}
		}
		for _, pkg := range []string{"deadline", "inbox", "slotmap"} { // only event loops need them
			if _, has := all["common/"+pkg+"/"+pkg+".go"]; has != (stage == 4) {
				t.Errorf("stage %d: it has common/%s: %v", stage, pkg, has)
			}
		}
	}
}

const (
	together = 4  // so many lines of a solution, one after the other, must not be in a handout
	longer   = 40 // unless they have fewer bytes: "return nil", "return err" is no solution
)

// parts returns all runs of so many lines of a text.
func parts(text string) map[string]bool {
	runs := map[string]bool{}
	lines := telling("\n" + text)
	for i := range max(len(lines)-together+1, 0) {
		if part := strings.Join(lines[i:i+together], "\n"); len(part) >= longer {
			runs[part] = true
		}
	}
	return runs
}

// solutions returns the parts of the real code of exercises, and the exercise of each.
func solutions(t *testing.T, root string, all []exercise.Exercise) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, e := range all {
		for _, c := range e.Cuts {
			text, err := exercise.ReadFrom(root)(c.File)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range c.Names {
				code, err := exercise.Bodies(text, []string{name})
				if err != nil {
					t.Fatal(err)
				}
				for part := range parts(code) {
					found[part] = e.ID
				}
			}
		}
	}
	return found
}

// TestShowing checks that the tests that a handout does not have would show a solution.
func TestShowing(t *testing.T) {
	root := source(t)
	known := solutions(t, root, upTo(len(stages.Dirs)-1))
	for pattern, id := range tree.Showing {
		paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		shown := false
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for part := range parts(string(text)) {
				shown = shown || known[part] == id
			}
		}
		if !shown {
			t.Errorf("%s shows no part of %s: take it out of tree.Showing", pattern, id)
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
