package grade

import (
	"bufio"
	_ "embed" // milestones.txt
	"slices"
	"strconv"
	"strings"
)

//go:embed milestones.txt
var milestonesText string

// A milestone is a step of the ladder: some cases that a student's server should pass before the next ones.
type milestone struct {
	title    string
	says     string   // what it asks for, in a sentence
	patterns []string // match the names of cases
	joined   bool     // runs together with the milestone before
	from     int      // the first stage that has it
}

// milestones are those of milestones.txt, in its order.
var milestones = parseMilestones(milestonesText)

func parseMilestones(text string) []milestone {
	var all []milestone
	scan := bufio.NewScanner(strings.NewReader(text))
	for scan.Scan() {
		line := strings.TrimSpace(scan.Text())
		mark, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || mark == "#":
		case mark == "=" || mark == "+":
			title, stage, _ := strings.Cut(rest, " @")
			from, _ := strconv.Atoi(stage)
			all = append(all, milestone{title: title, joined: mark == "+", from: from})
		case len(all) == 0: // a pattern without a milestone
			panic("milestones.txt: " + line)
		case mark == ">":
			all[len(all)-1].says = rest
		default:
			m := &all[len(all)-1]
			m.patterns = append(m.patterns, strings.Fields(line)...)
		}
	}
	return all
}

// milestoneOf returns the index of the stage's milestone with the longest pattern that matches the name of a case, and
// the index of that pattern. The milestone is -1 if there is none.
func milestoneOf(all []milestone, stage int, name string) (index, pattern int) {
	index = -1
	longest := -1
	for i, m := range all {
		if m.from > stage {
			continue
		}
		for k, p := range m.patterns {
			if hintMatches(p, name) && len(p) > longest {
				index, pattern, longest = i, k, len(p)
			}
		}
	}
	return index, pattern
}

// A rung is a milestone with the cases of a stage that belong to it.
type rung struct {
	milestone
	number  int // from 1
	entries []*entry
}

// rungs returns the milestones that have cases in the report.
func (r *Report) rungs(all []milestone) []*rung {
	of := make([]*rung, len(all))
	order := map[*entry]int{}
	for _, e := range r.Cases {
		i, k := milestoneOf(all, r.Stage, e.Name)
		if i < 0 {
			continue // a test finds such a case
		}
		if of[i] == nil {
			of[i] = &rung{milestone: all[i]}
		}
		of[i].entries = append(of[i].entries, e)
		order[e] = k
	}
	var rungs []*rung
	for _, g := range of {
		if g != nil {
			slices.SortStableFunc(g.entries, func(a, b *entry) int { return order[a] - order[b] })
			rungs = append(rungs, g)
			g.number = len(rungs)
		}
	}
	return rungs
}

// failure returns the first entry that did not pass, and the number of all of them.
func (g *rung) failure() (first *entry, n int) {
	for _, e := range g.entries {
		if e.Outcome == failed || e.Outcome == untried {
			if first == nil || first.Outcome == untried && e.Outcome == failed {
				first = e
			}
			n++
		}
	}
	return first, n
}
