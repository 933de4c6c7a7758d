package ledger

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"fourways.example/common/servertest/cases"
)

// Names holds the names of the pitfalls, cases, claims and tests of the repository. An entry may refer to them.
type Names struct {
	known    map[[2]string]bool
	pitfalls map[string]string // the folder of each pitfall
}

// Has reports whether there is a pitfall, case, claim or test of this name.
func (n Names) Has(kind, name string) bool { return n.known[[2]string{kind, name}] }

// Pitfalls returns the folder of each pitfall, below the root of the repository.
func (n Names) Pitfalls() map[string]string { return n.pitfalls }

var (
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	claim    = regexp.MustCompile("(?m)^- `([a-z0-9-]+)`:")
)

// FindNames reads the repository.
func FindNames(repo string) (Names, error) {
	n := Names{known: map[[2]string]bool{}, pitfalls: map[string]string{}}
	for _, c := range cases.All() {
		n.known[[2]string{"case", c.Name}] = true
	}
	spec, err := os.ReadFile(filepath.Join(repo, "docs", "spec.md"))
	if err != nil {
		return n, err
	}
	for _, m := range claim.FindAllSubmatch(spec, -1) {
		n.known[[2]string{"claim", string(m[1])}] = true
	}
	dirs, err := filepath.Glob(filepath.Join(repo, "*", "testdata", "pitfalls", "*", "README.md"))
	if err != nil {
		return n, err
	}
	for _, readme := range dirs {
		dir := filepath.Dir(readme)
		rel, err := filepath.Rel(repo, dir)
		if err != nil {
			return n, err
		}
		n.pitfalls[filepath.Base(dir)] = filepath.ToSlash(rel)
		n.known[[2]string{"pitfall", filepath.Base(dir)}] = true
	}
	return n, n.addTests(repo)
}

// addTests adds the functions named Test… in all test files.
func (n Names) addTests(repo string) error {
	return filepath.WalkDir(repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == ".git" || name == "bin" || name == "docs" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			n.known[[2]string{"test", string(m[1])}] = true
		}
		return nil
	})
}
