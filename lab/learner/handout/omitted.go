package handout

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"fourways.example/lab/learner/learn/exercise"
)

// An omission is a test that cannot run in a handout.
type omission struct{ file, test, reason string }

type omissions []omission

// parseOmitted reads lines of the form `FILE TEST: REASON`. Empty lines and lines with # do not count.
func parseOmitted(text string) (omissions, error) {
	var all omissions
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		what, reason, ok := strings.Cut(line, ": ")
		file, test, two := strings.Cut(what, " ")
		if !ok || !two {
			return nil, fmt.Errorf("omitted.txt: %q is not of the form FILE TEST: REASON", line)
		}
		all = append(all, omission{file, test, reason})
	}
	return all, nil
}

// apply skips the tests in a tree for a stage. A file of a stage that the tree does not have is left out.
func (all omissions) apply(root string, stage int) error {
	for _, o := range all {
		if top, _, _ := strings.Cut(o.file, "/"); leftOut(top, stage) {
			continue
		}
		path := filepath.Join(root, filepath.FromSlash(o.file))
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("omitted.txt: %w", err)
		}
		text, err = exercise.Replace(text, o.test, fmt.Sprintf("{\n\tt.Skip(%q)\n}", "not in a handout: "+o.reason))
		if err != nil {
			return fmt.Errorf("omitted.txt: %s: %w", o.file, err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
