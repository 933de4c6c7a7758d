package handout

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"fourways.example/common/servertest/stages"
	"fourways.example/lab/learner/learn/exercise"
	"fourways.example/lab/learner/learn/tree"
)

// readme returns the first page of the tree: the exercises, and how to check them.
func readme(stage int, all []exercise.Exercise, twins []twin) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Exercises up to %s\n\n", stages.Dirs[stage])
	b.WriteString("The server in this tree lacks some functions. Each has its signature and its comment, and says what is\n" +
		"missing. Write them in this order; the later ones need the earlier ones.\n\n" +
		"    make build                  # the servers, in bin/\n" +
		"    make test STAGE=1           # all tests of a stage\n\n" +
		"A few tests are skipped here, and say why. [docs/spec.md](docs/spec.md) is what the server promises,\n" +
		"[docs/design.md](docs/design.md) why it is built as it is.\n")
	for i, e := range all {
		fmt.Fprintf(&b, "\n## %d. %s (%s)\n\nAbout %d minutes. Missing: %s.\n\n", i+1, e.Title, e.ID, e.Minutes, e.Missing)
		for _, c := range e.Cuts {
			fmt.Fprintf(&b, "- Write `%s` in %s.\n", strings.Join(c.Names, "`, `"), c.File)
		}
		for _, t := range twins {
			switch {
			case t.with == i && t.of == i:
				fmt.Fprintf(&b, "- Copy your `%s` to %s, and adapt it.\n", t.name, t.file)
			case t.with == i:
				fmt.Fprintf(&b, "- Write `%s` in %s, too: exercise %s is about it.\n", t.name, t.file, all[t.of].ID)
			}
		}
		fmt.Fprintf(&b, "- Read %s.\n\nCheck:\n\n", strings.Join(e.Read, "; "))
		for i := range e.Check {
			fmt.Fprintf(&b, "    %s\n", e.Check[i].Shell())
		}
	}
	b.WriteString("\n# Hints\n\nEach says more than the one before.\n")
	for i, e := range all {
		fmt.Fprintf(&b, "\n## Hints to %d, %s\n\n", i+1, e.ID)
		for n, h := range e.Hints {
			fmt.Fprintf(&b, "%d. %s\n", n+1, h)
		}
	}
	return b.String()
}

// kept are the targets of the Makefile that work without the lab and the later stages.
var kept = []string{"help", "build", "run", "test", "race", "vet", "clean"}

var (
	target = regexp.MustCompile(`(?m)^([a-z0-9%-]+|bin/tools/%):(?: .*)?$`)
	phony  = regexp.MustCompile(`(?m)^\.PHONY:.*$`)
)

// adapt returns the Makefile without the targets that need the lab. Its paragraphs are separated by empty lines: one
// with a target that is not kept is left out.
func adapt(makefile string) (string, error) {
	var out, have []string
	for _, p := range strings.Split(makefile, "\n\n") {
		names := target.FindAllStringSubmatch(p, -1)
		keep := true
		for _, n := range names {
			keep = keep && slices.Contains(kept, n[1])
		}
		if !keep || strings.HasPrefix(p, "# The code of two stages") || strings.HasPrefix(p, "# $(call side") {
			continue
		}
		for _, n := range names {
			have = append(have, n[1])
		}
		out = append(out, phony.ReplaceAllString(p, ".PHONY: "+strings.Join(kept, " ")))
	}
	for _, k := range kept {
		if !slices.Contains(have, k) {
			return "", fmt.Errorf("the Makefile has no paragraph for %s alone", k)
		}
	}
	return strings.Join(out, "\n\n"), nil
}

// dropDeadLinks replaces the links to files that the tree does not have by their text, and takes such pictures out.
func dropDeadLinks(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		page, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		living := tree.LivingLinks(filepath.ToSlash(page), string(text), func(name string) bool {
			_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
			return err == nil
		})
		return os.WriteFile(path, []byte(living), 0o644)
	})
}
