package faults

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The table in the document stands between these two lines.
const (
	tableBegin = "<!-- faults: this table is written by make faults -->"
	tableEnd   = "<!-- faults: end -->"
)

// writeTable returns the table as Markdown. A row that no stage has is left out.
func writeTable(all []row, got []result) string {
	var b strings.Builder
	b.WriteString("| call | what for | error | the same for | outcome |\n|---|---|---|---|---|\n")
	for i, r := range all {
		if len(got[i].outcomes) == 0 {
			continue
		}
		fault := r.errors[0]
		if fault == "0" {
			fault = "returns 0"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.call, r.what, fault, strings.Join(r.errors[1:], ", "), cell(got[i].outcomes))
	}
	return b.String()
}

// cell returns the outcomes of all stages: one text, or one for each group of stages with the same outcome.
func cell(outcomes map[int]string) string {
	groups := map[string][]int{}
	var order []string
	for _, stage := range slices.Sorted(maps.Keys(outcomes)) {
		text := outcomes[stage]
		if groups[text] == nil {
			order = append(order, text)
		}
		groups[text] = append(groups[text], stage)
	}
	var parts []string
	for _, text := range order {
		if len(groups[text]) == 4 {
			return text
		}
		parts = append(parts, stageList(groups[text])+": "+text)
	}
	return strings.Join(parts, "<br>")
}

// stageList returns "stage 4" or "stages 1, 2".
func stageList(all []int) string {
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = strconv.Itoa(n)
	}
	if len(all) == 1 {
		return "stage " + names[0]
	}
	return "stages " + strings.Join(names, ", ")
}

// readTable returns the outcomes in the document by key and stage.
func readTable(doc string) (map[string]map[int]string, error) {
	table, err := between(doc, tableBegin, tableEnd)
	if err != nil {
		return nil, err
	}
	all := map[string]map[int]string{}
	for i, line := range slices.Collect(strings.Lines(table)) {
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "| "), " |"), " | ")
		if i < 2 || len(cells) != 5 {
			continue
		}
		fault := cells[2]
		if fault == "returns 0" {
			fault = "0"
		}
		all[cells[0]+" | "+cells[1]+" | "+fault] = readCell(cells[4])
	}
	return all, nil
}

// readCell is the opposite of cell.
func readCell(text string) map[int]string {
	outcomes := map[int]string{}
	for part := range strings.SplitSeq(text, "<br>") {
		list, ok := strings.CutPrefix(part, "stages ")
		if !ok {
			list, ok = strings.CutPrefix(part, "stage ")
		}
		names, outcome, found := strings.Cut(list, ": ")
		if !ok || !found {
			return map[int]string{1: text, 2: text, 3: text, 4: text}
		}
		for name := range strings.SplitSeq(names, ", ") {
			if n, err := strconv.Atoi(name); err == nil {
				outcomes[n] = outcome
			}
		}
	}
	return outcomes
}

// compare returns an error that lists every outcome that is not in the table.
func compare(all []row, got []result, want map[string]map[int]string) error {
	var errs []error
	for i, r := range all {
		for _, stage := range slices.Sorted(maps.Keys(got[i].outcomes)) {
			if outcome, old := got[i].outcomes[stage], want[r.key()][stage]; outcome != old {
				errs = append(errs, fmt.Errorf("stage %d: %s:\n\tthe table has %q\n\tnow it is    %q", stage, r.key(), old, outcome))
			}
		}
	}
	if len(errs) > 0 {
		errs = append(errs, errors.New("if these outcomes are right, write the table anew: make faults"))
	}
	return errors.Join(errs...)
}

// replace writes a table between two lines of the document.
func replace(path, begin, end, table string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	old, err := between(string(text), begin, end)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(text), begin+"\n"+old+end, begin+"\n"+table+end, 1)), 0o644)
}

// between returns what stands between two lines of the document.
func between(doc, begin, end string) (string, error) {
	_, rest, ok := strings.Cut(doc, begin+"\n")
	table, _, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", errors.New("the lines around the table are missing: " + begin)
	}
	return table, nil
}
