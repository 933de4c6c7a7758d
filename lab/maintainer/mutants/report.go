package mutants

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"slices"
	"text/tabwriter"
)

// A status is the outcome for a mutant.
type status string

const (
	killed     status = "killed"
	survived   status = "SURVIVED"
	equivalent status = "equivalent"
	broken     status = "no program" // does not compile; does not count
)

// A result is a mutant with its outcome.
type result struct {
	Mutant  string  `json:"mutant"` // the description, as in equivalent.txt
	File    string  `json:"file"`
	Line    int     `json:"line"`
	Op      string  `json:"operator"`
	Before  string  `json:"before"`
	After   string  `json:"after"`
	Status  status  `json:"status"`
	By      string  `json:"by,omitempty"`  // the set of tests that failed
	Why     string  `json:"why,omitempty"` // the test that failed, or the reason in equivalent.txt
	Seconds float64 `json:"seconds"`
	Kept    bool    `json:"kept,omitempty"` // from an earlier run
}

func (m *mutant) result() *result {
	before, after := m.lines()
	return &result{Mutant: m.key(), File: m.File, Line: m.Line, Op: m.Op, Before: before, After: after}
}

// line returns the progress line for the result.
func (r *result) line() string {
	s := fmt.Sprintf("%-10s %s:%d %s", r.Status, r.File, r.Line, r.Op)
	if r.By != "" {
		s += fmt.Sprintf(", by the %s: %s", r.By, r.Why)
	} else if r.Status == broken {
		s += ": " + r.Why
	}
	if r.Kept {
		return s + ", kept"
	}
	return s + fmt.Sprintf(", %.1f s", r.Seconds)
}

// A report has the results of a whole run.
type report struct {
	Seed    int64     `json:"seed"`
	Of      int       `json:"mutants"` // all mutants; some may not compile
	Sample  int       `json:"sample"`
	Rate    float64   `json:"rate"` // in percent
	Seconds float64   `json:"seconds"`
	Results []*result `json:"results"`
}

func (r *report) add(res *result) { r.Results = append(r.Results, res) }

// A tally counts results.
type tally struct{ killed, survived, equivalent int }

func (t *tally) add(s status) {
	switch s {
	case killed:
		t.killed++
	case survived:
		t.survived++
	case equivalent:
		t.equivalent++
	}
}

// rate returns the kill rate in percent, which is 100 if no mutant was tested.
func (t *tally) rate() float64 {
	if t.killed+t.survived == 0 {
		return 100
	}
	return 100 * float64(t.killed) / float64(t.killed+t.survived)
}

func (t *tally) cell() string {
	if t.killed+t.survived == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", t.killed, t.killed+t.survived)
}

// print prints the results by package and operator, then the survivors.
func (r *report) print(out io.Writer) {
	slices.SortFunc(r.Results, byPlace)
	var dirs []string
	cells := map[[2]string]*tally{}
	at := func(dir, op string) *tally {
		t := cells[[2]string{dir, op}]
		if t == nil {
			t = &tally{}
			cells[[2]string{dir, op}] = t
		}
		return t
	}
	const all = "all"
	for _, res := range r.Results {
		dir := path.Dir(res.File)
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		for _, t := range []*tally{at(dir, res.Op), at(dir, all), at(all, res.Op), at(all, all)} {
			t.add(res.Status)
		}
	}
	r.Rate = at(all, all).rate()
	fmt.Fprintln(out, "\nkilled/tested, by package and operator:")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "PACKAGE")
	for _, op := range operators {
		fmt.Fprintf(w, "\t%s", op)
	}
	fmt.Fprintln(w, "\tkilled\tsurvived\tequivalent\trate")
	for _, dir := range append(dirs, all) {
		fmt.Fprint(w, dir)
		for _, op := range operators {
			fmt.Fprintf(w, "\t%s", at(dir, op).cell())
		}
		t := at(dir, all)
		fmt.Fprintf(w, "\t%d\t%d\t%d\t%.1f %%\n", t.killed, t.survived, t.equivalent, t.rate())
	}
	_ = w.Flush()
	r.survivors(out)
	fmt.Fprintf(out, "\nseed %d, a sample of %d of %d mutants, %d tested, in %.0f s\n", r.Seed, r.Sample, r.Of, len(r.Results), r.Seconds)
}

// survivors prints the change of each survivor, and its description as equivalent.txt needs it. It also prints the
// equivalent mutants of the sample, with the reasons.
func (r *report) survivors(out io.Writer) {
	for _, res := range r.Results {
		switch res.Status {
		case survived:
			fmt.Fprintf(out, "\nsurvivor: %s:%d\n  - %s\n  + %s\n  %s\n", res.File, res.Line, res.Before, cmp.Or(res.After, "(nothing)"), res.Mutant)
		case equivalent:
			fmt.Fprintf(out, "\nequivalent: %s:%d\n  - %s\n  + %s\n  %s\n", res.File, res.Line, res.Before, cmp.Or(res.After, "(nothing)"), res.Why)
		}
	}
}

// failure returns an error if too few mutants are killed, or if some were not tested.
func (r *report) failure(least float64) error {
	if r.Rate < least {
		return fmt.Errorf("%.1f %% of the mutants were killed; want at least %.0f %%", r.Rate, least)
	}
	if len(r.Results) < r.Sample {
		return fmt.Errorf("%d of %d mutants were not tested: the time limit was reached (--limit)", r.Sample-len(r.Results), r.Sample)
	}
	return nil
}
