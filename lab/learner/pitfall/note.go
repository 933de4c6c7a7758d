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

// A note is a pitfall that no client meets in a server: it is about Go, or about measuring. It has half a page
// and a test, and nothing to play.
type note struct {
	ID   string
	Bug  string // what goes wrong, in a line
	Dir  string // where its page is, from the root of the repository
	Test string // the name of the test that proves it
}

var testName = regexp.MustCompile("`(Test\\w+)`")

// notes are all there are, folder by folder.
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
			return nil, fmt.Errorf("%s: the first line is to be \"# ID: what goes wrong\", and a test is to be named", file)
		}
		all = append(all, note{ID: id, Bug: bug, Dir: filepath.ToSlash(dir), Test: test[1]})
	}
	return all, nil
}

// module is the folder in which `go test` finds the note's test, and the package in there.
func (n *note) module() (dir, pkg string) {
	dir, pkg, _ = strings.Cut(strings.TrimSuffix(n.Dir, "/testdata/pitfalls/"+n.ID), "/")
	return dir, "./" + path.Clean(pkg)
}
