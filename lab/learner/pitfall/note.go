package pitfall

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"fourways.example/common/servertest/variants"
)

// A note is a pitfall about Go or about measuring. No client can see it in a server, so it has a page and a test,
// but no scenario.
type note struct {
	ID   string
	Bug  string // what goes wrong, in one line
	Dir  string // the folder of its page, from the root of the repository
	Test string // the name of the test that shows it
}

var testName = regexp.MustCompile("`(Test\\w+)`")

// notes returns all notes, folder by folder.
func notes(repo *variants.Repo) ([]note, error) {
	files, err := filepath.Glob(filepath.Join(repo.Root, "common", "servertest", "pitfalls", "*", "testdata", "pitfalls", "*", "README.md"))
	if err != nil {
		return nil, err
	}
	var all []note
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		title, rest, _ := strings.Cut(string(text), "\n")
		id, bug, ok := strings.Cut(strings.TrimPrefix(title, "# "), ": ")
		test := testName.FindStringSubmatch(rest)
		dir, err := filepath.Rel(repo.Root, filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		if !ok || test == nil || id != filepath.Base(dir) {
			return nil, fmt.Errorf("%s: the first line must be \"# ID: what goes wrong\", where ID is the name of the folder, and the text must name a `Test…`", file)
		}
		all = append(all, note{ID: id, Bug: bug, Dir: filepath.ToSlash(dir), Test: test[1]})
	}
	return all, nil
}

// module returns the folder of the Go module with the note's test, and the package in that module.
func (n *note) module() (dir, pkg string) {
	dir, pkg, _ = strings.Cut(strings.TrimSuffix(n.Dir, "/testdata/pitfalls/"+n.ID), "/")
	return dir, "./" + path.Clean(pkg)
}
