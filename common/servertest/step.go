package servertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fourways.example/common/servertest/cases"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/suite"
	"fourways.example/common/servertest/variants"
)

// RunStep builds a step between stages 3 and 4, such as "4a", and runs all cases against it. The file cases.txt in
// the step's folder lists those that the step must fail, and those that are left out.
func RunStep(t *testing.T, step string) {
	repo := findRepo(t)
	list, err := os.ReadFile(filepath.Join(repo.StepDir(step), "cases.txt"))
	if err != nil {
		t.Fatalf("there is no step %s: %v", step, err)
	}
	chosen, err := stepCases(string(list), cases.All())
	if err != nil {
		t.Fatal(err)
	}
	prog, err := repo.BuildStep(t.Context(), step, filepath.Join(t.TempDir(), step))
	if err != nil {
		t.Fatal(err)
	}
	suite.Run(t, prog, chosen)
}

// BuildStep builds a step, and runs go vet on it.
func BuildStep(t *testing.T, step string) {
	repo, dir := findRepo(t), t.TempDir()
	if _, err := repo.BuildStep(t.Context(), step, filepath.Join(dir, step)); err != nil {
		t.Error(err)
	}
	if err := repo.VetStep(t.Context(), step, dir); err != nil {
		t.Error(err)
	}
}

// findRepo returns the tree that contains the running test.
func findRepo(t *testing.T) *variants.Repo {
	t.Helper()
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// stepCases applies a list to the cases. A line of the list is
//
//	fails NAME: REASON    the step must fail the case
//	omit NAME: REASON     the case is not run
//
// or a comment that begins with #. NAME may end with *, which stands for the rest of a name.
func stepCases(list string, all []suite.Case) ([]suite.Case, error) {
	outcome := map[string]string{} // of a case, by its name
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		what, reason, ok := strings.Cut(line, ": ")
		verb, name, _ := strings.Cut(what, " ")
		if !ok || reason == "" || verb != "fails" && verb != "omit" {
			return nil, fmt.Errorf("cases.txt: %q is not of the form `fails NAME: REASON` or `omit NAME: REASON`", line)
		}
		prefix, many := strings.CutSuffix(name, "*")
		found := false
		for _, c := range all {
			if c.Name == name || many && strings.HasPrefix(c.Name, prefix) {
				found = true
				outcome[c.Name] = verb
			}
		}
		if !found {
			return nil, fmt.Errorf("cases.txt: there is no case %s", name)
		}
	}
	var chosen []suite.Case
	for _, c := range all {
		switch outcome[c.Name] {
		case "omit":
			continue
		case "fails":
			c.Fails |= stages.In(4)
		}
		chosen = append(chosen, c)
	}
	return chosen, nil
}
