// Package ledger explains the difference between a stage and the next one, hunk by hunk. The explanations are kept in
// docs/ledger, one file for each pair. An entry belongs to a hunk by a hash of the hunk's changed lines.
package ledger

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fourways.example/common/servertest/stages"
)

// A Pair is two neighbours: stages, or the steps from stage 3 to stage 4.
type Pair struct{ From, To string }

// Pairs lists the neighbours in the order in which one reads them. Each has a file in docs/ledger.
var Pairs = []Pair{{"1", "2"}, {"2", "3"}, {"3", "4a"}, {"4a", "4b"}, {"4b", "4c"}, {"4c", "4"}}

func (p Pair) String() string { return p.From + "-" + p.To }

// File is the path of the pair's ledger below the root of the repository.
func (p Pair) File() string { return filepath.Join("docs", "ledger", p.String()+".md") }

// Title is the heading of the pair's ledger.
func (p Pair) Title() string { return "From " + Name(p.From) + " to " + Name(p.To) }

// Name is what prose calls a stage or step.
func Name(s string) string {
	if len(s) > 1 {
		return "step " + s
	}
	return "stage " + s
}

// find returns the pair of neighbours with these names. "4d" is another name of stage 4.
func find(from, to string) (Pair, bool) {
	p := Pair{strings.Replace(from, "4d", "4", 1), strings.Replace(to, "4d", "4", 1)}
	return p, slices.Contains(Pairs, p)
}

// Hunks compares the Go files of the two sides, tests not included. Each hunk names its file.
func (p Pair) Hunks(repo string) ([]Hunk, error) {
	old, err := files(repo, p.From)
	if err != nil {
		return nil, err
	}
	now, err := files(repo, p.To)
	if err != nil {
		return nil, err
	}
	names := maps.Clone(old)
	maps.Copy(names, now)
	var hunks []Hunk
	for _, name := range slices.Sorted(maps.Keys(names)) {
		hunks = append(hunks, Diff(name, old[name], now[name])...)
	}
	return hunks, nil
}

// files returns the lines of each Go file of a stage or step that is not a test. A step has only a server.go of its
// own; the rest is that of stage 4.
func files(repo, name string) (map[string][]string, error) {
	steps := filepath.Join(stages.Dirs[4], "testdata", "steps")
	dir, step := filepath.Join(steps, name), true
	for n := 1; n < len(stages.Dirs); n++ {
		if name == fmt.Sprint(n) {
			dir, step = stages.Dirs[n], false
		}
	}
	out := map[string][]string{}
	if step {
		if _, err := os.Stat(filepath.Join(repo, dir, "server.go")); err != nil {
			return nil, fmt.Errorf("there is no stage or step %q: name one of 1, 2, 3, 4a, 4b, 4c, 4", name)
		}
		if err := add(out, filepath.Join(repo, stages.Dirs[4])); err != nil {
			return nil, err
		}
	}
	return out, add(out, filepath.Join(repo, dir))
}

func add(out map[string][]string, dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		out[filepath.Base(name)] = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	}
	return nil
}
