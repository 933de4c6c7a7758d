package pitfalls

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fourways.example/common/servertest/variants"
)

// TestScenarios checks that scenarios and folders belong together and say all they should.
func TestScenarios(t *testing.T) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	pitfalls, err := All(repo)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, p := range pitfalls {
		t.Run(p.ID, func(t *testing.T) {
			if known[p.ID] {
				t.Error("there are two of this name")
			}
			known[p.ID] = true
			checkScenario(t, repo, &p)
		})
	}
	folders, err := filepath.Glob(filepath.Join(repo.Root, "stage*", "testdata", "pitfalls", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range folders {
		if !known[filepath.Base(dir)] {
			t.Errorf("%s has no scenario", dir)
		}
	}
}

func checkScenario(t *testing.T, repo *variants.Repo, p *Pitfall) {
	for what, text := range map[string]string{"Bug": p.Bug, "Question": p.Question, "Assertion": p.Assertion, "Usually": p.Usually} {
		if text == "" {
			t.Errorf("no %s", what)
		}
	}
	if strings.ContainsAny(p.Assertion, " \t") {
		t.Errorf("%q is no name", p.Assertion)
	}
	if n := len(p.Choices); n == 1 || n > 4 || n > 0 && p.Answer >= n {
		t.Errorf("%d choices, of which number %d is right", n, p.Answer)
	}
	if p.Run == nil || len(p.Where) == 0 {
		t.Error("no Run, or no Where")
	}
	readme, err := os.ReadFile(filepath.Join(p.Dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(readme), "# "+p.ID+": ") {
		t.Errorf("README.md does not begin with its name")
	}
	for _, place := range p.Where {
		at, err := repo.Find(place, p.Stage)
		if err != nil {
			t.Error(err)
			continue
		}
		if file, _, _ := strings.Cut(at, ":"); !strings.Contains(string(readme), file) {
			t.Errorf("README.md does not name %s", file)
		}
		if !strings.Contains(string(readme), place.Func) {
			t.Errorf("README.md does not name %s", place.Func)
		}
	}
	previous, err := p.PreviousStage()
	if err != nil {
		t.Error(err)
	}
	if previous > 0 {
		return
	}
	patch, err := p.Patch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Overlay(patch, t.TempDir()); err != nil {
		t.Error(err)
	}
}
