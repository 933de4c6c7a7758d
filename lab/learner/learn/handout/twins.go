package handout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fourways.example/lab/learner/learn/exercise"
)

// servers are the files in which a stage or a step repeats code of another one.
var servers = []string{
	"stage1-iterative/server.go", "stage2-threadpool/server.go", "stage3-dualstack/listen.go", "stage3-dualstack/server.go",
	"stage4-epoll/testdata/steps/4a/server.go", "stage4-epoll/testdata/steps/4b/server.go", "stage4-epoll/testdata/steps/4c/server.go",
	"stage4-epoll/listen.go", "stage4-epoll/server.go",
}

// A twin is a function that would show the solution of an exercise in another file: it has the same name, and at least
// half of the lines of the solution.
type twin struct {
	file, name string
	of         int // the index of the exercise
	// with is the exercise with which a student writes the twin. It is of, or an earlier one that cannot pass its check
	// without the twin, because both are in the same file.
	with int
}

// findTwins returns the twins of all exercises in a tree from which nothing is cut yet.
func findTwins(root string, all []exercise.Exercise) ([]twin, error) {
	read := exercise.ReadFrom(root)
	taken := map[[2]string]bool{} // a function belongs to one exercise
	first := map[string]int{}     // of each file, the first exercise in it
	for i, e := range all {
		for _, c := range e.Cuts {
			if _, ok := first[c.File]; !ok {
				first[c.File] = i
			}
			for _, name := range c.Names {
				taken[[2]string{c.File, name}] = true
			}
		}
	}
	var twins []twin
	for i, e := range all {
		for _, c := range e.Cuts {
			if !strings.HasPrefix(c.File, "stage") {
				continue
			}
			text, err := read(c.File)
			if err != nil {
				return nil, err
			}
			for _, name := range c.Names {
				solution, err := exercise.Bodies(text, []string{name})
				if err != nil {
					return nil, err
				}
				for _, file := range servers {
					similar, err := repeats(read, file, name, solution)
					if err != nil {
						return nil, err
					}
					if !similar || taken[[2]string{file, name}] {
						continue
					}
					taken[[2]string{file, name}] = true
					t := twin{file, name, i, i}
					if n, ok := first[file]; ok {
						t.with = min(n, i)
					}
					twins = append(twins, t)
				}
			}
		}
	}
	return twins, nil
}

// repeats reports whether a file has a function with this name and at least half of the lines of the solution.
func repeats(read func(string) ([]byte, error), file, name, solution string) (bool, error) {
	text, err := read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a later stage
	}
	if err != nil {
		return false, err
	}
	function, err := exercise.Bodies(text, []string{name})
	if err != nil {
		return false, nil // the file has no such function
	}
	has := map[string]bool{}
	for _, l := range telling(function) {
		has[l] = true
	}
	lines, shared := telling(solution), 0
	for _, l := range lines {
		if has[l] {
			shared++
		}
	}
	return 2*shared >= len(lines), nil
}

// telling returns the lines of a function after the first one that say something: no comments, and no lone braces.
func telling(function string) []string {
	var lines []string
	_, body, _ := strings.Cut(function, "\n")
	for line := range strings.Lines(body) {
		code, _, _ := strings.Cut(line, "//")
		if code = strings.TrimSpace(code); len(code) > len("} else {") {
			lines = append(lines, code)
		}
	}
	return lines
}

// cut replaces the body of the twin by a panic that says where the exercise is.
func (t *twin) cut(root string, all []exercise.Exercise) error {
	text, err := exercise.ReadFrom(root)(t.file)
	if err != nil {
		return err
	}
	of := &all[t.of]
	said := fmt.Sprintf("exercise %s: copy your solution from %s, and adapt it", of.ID, of.Cuts[0].File)
	if t.with < t.of {
		said = fmt.Sprintf("exercise %s: %s; exercise %s is about it", all[t.with].ID, of.Missing, of.ID)
	}
	if text, err = exercise.Replace(text, t.name, fmt.Sprintf("{\n\tpanic(%q)\n}", said)); err != nil {
		return fmt.Errorf("%s: %w", t.file, err)
	}
	return os.WriteFile(filepath.Join(root, filepath.FromSlash(t.file)), text, 0o644)
}
