// Package handout makes a tree for students: the stages up to one, with all exercises up to it cut, and without the
// code and the texts that solve them.
package handout

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/learn/exercise"
	"fourways.example/lab/learner/learn/tree"
)

// Command is the command `lab handout`.
type Command struct {
	Stage int    `required:"" help:"The last stage of the tree, 1 to 4." placeholder:"N"`
	Out   string `short:"o" help:"The folder to make; the default is bin/handout-N." placeholder:"DIR" type:"path"`
}

// Run makes the tree.
func (c *Command) Run() error {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	out := c.Out
	if out == "" {
		out = filepath.Join(repo.Root, "bin", fmt.Sprintf("handout-%d", c.Stage))
	}
	if err := Make(repo.Root, out, c.Stage); err != nil {
		return err
	}
	fmt.Printf("made %s: begin with its README.md\n", out)
	return nil
}

// Make makes the tree for a stage in a new folder.
func Make(root, out string, stage int) error {
	if stage < 1 || stage >= len(stages.Dirs) {
		return fmt.Errorf("there is no stage %d; choose 1 to %d", stage, len(stages.Dirs)-1)
	}
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty; remove it, or choose another folder with --out", out)
	}
	omitted, err := parseOmitted(omittedText)
	if err != nil {
		return err
	}
	used, err := usedPackages(root, stage)
	if err != nil {
		return err
	}
	skip := func(path string) bool { return leftOut(path, stage) || tree.ShowsSolution(path) || unused(path, used) }
	if err := tree.Copy(root, out, skip); err != nil {
		return err
	}
	if err := omitted.apply(out, stage); err != nil {
		return err
	}
	chosen := upTo(stage)
	twins, err := findTwins(out, chosen) // first: it compares with the code of the exercises
	if err != nil {
		return err
	}
	for i := range chosen {
		if err := chosen[i].Apply(out); err != nil {
			return err
		}
	}
	for _, t := range twins {
		if err := t.cut(out, chosen); err != nil {
			return err
		}
	}
	makefile, err := os.ReadFile(filepath.Join(out, "Makefile"))
	if err != nil {
		return err
	}
	adapted, err := adapt(string(makefile))
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"README.md": readme(stage, chosen, twins), "go.work": workspace(stage), "Makefile": adapted} {
		if err := os.WriteFile(filepath.Join(out, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return dropDeadLinks(out)
}

// upTo returns the exercises up to a stage.
func upTo(stage int) []exercise.Exercise {
	var chosen []exercise.Exercise
	for _, e := range exercise.Gaps() {
		if e.Stage <= stage {
			chosen = append(chosen, e)
		}
	}
	return chosen
}

// solvers are files and folders that have no use without the later stages or the lab, or tell too much.
var solvers = []string{
	".ci", ".devcontainer", "CHANGELOG.md", "CONTRIBUTING.md", "lab", "docs/bench", "docs/book", "docs/ledger", "docs/performance.md",
	"docs/pitfalls.md", "docs/sample", "docs/security.md", "docs/site/book", "docs/teaching.md", "docs/trace",
}

// leftOut reports whether the tree for a stage does not have a file or folder.
func leftOut(path string, stage int) bool {
	for _, s := range solvers {
		if path == s {
			return true
		}
	}
	for n := stage + 1; n < len(stages.Dirs); n++ {
		if path == stages.Dirs[n] {
			return true
		}
	}
	return tree.Pitfalls(path)
}

// workspace returns the go.work of the tree.
func workspace(stage int) string {
	var b strings.Builder
	b.WriteString("go 1.26.0\n\nuse (\n\t./common\n")
	for n := 1; n <= stage; n++ {
		fmt.Fprintf(&b, "\t./%s\n", stages.Dirs[n])
	}
	b.WriteString(")\n")
	return b.String()
}

//go:embed omitted.txt
var omittedText string
