package servertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScenarios checks that scenarios and folders belong together and say all they should.
func TestScenarios(t *testing.T) {
	repo, err := FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	pitfalls, err := Pitfalls(repo)
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

func checkScenario(t *testing.T, repo *Repo, p *Pitfall) {
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
	if _, err := repo.overlay(patch, t.TempDir()); err != nil {
		t.Error(err)
	}
}

// TestPatch applies a patch to a file that has moved on.
func TestPatch(t *testing.T) {
	const patch = "--- a/d/f.go\n+++ b/d/f.go\n@@ -2,3 +2,3 @@\n b\n-c\n+C\n d\n@@ -6,2 +6,3 @@\n f\n+F\n g\n"
	files, err := ParsePatch([]byte(patch))
	if err != nil || len(files) != 1 || files[0].Path != "d/f.go" {
		t.Fatalf("%+v, %v", files, err)
	}
	for _, row := range []struct{ name, before, after, renewed string }{
		{"as it was", "a\nb\nc\nd\ne\nf\ng\n", "a\nb\nC\nd\ne\nf\nF\ng\n", ""},
		{"moved", "0\n1\na\nb\nc\nd\nx\nx\ne\nf\ng\n", "0\n1\na\nb\nC\nd\nx\nx\ne\nf\nF\ng\n", ""},
		{"other lines around", "a\nB\nc\nD\ne\nf\ng\n", "", "a\nB\nC\nD\ne\nf\nF\ng\n"},
		{"changed", "a\nb\nz\nd\ne\nf\ng\n", "", ""},
		{"in two places", "x\na\nb\nc\nd\ny\nb\nc\nd\ne\nf\ng\n", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := files[0].Apply(row.before)
			if got != row.after {
				t.Errorf("Apply: %q, %v; want %q", got, err, row.after)
			}
			if err != nil && !strings.Contains(err.Error(), "--renew") {
				t.Errorf("Apply does not say how to renew it: %v", err)
			}
			again, err := Renew([]byte(patch), func(string) (string, error) { return row.before, nil })
			want := row.after + row.renewed
			if want == "" {
				if err == nil {
					t.Errorf("Renew: %s", again)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			files, err := ParsePatch(again)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := files[0].Apply(row.before); got != want {
				t.Errorf("Renew: %q, %v; want %q\n%s", got, err, want, again)
			}
		})
	}
}
