package grade

import (
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/suite"
)

// The outcomes of a case.
const (
	passed  = "ok"
	failed  = "FAIL"
	untried = "not tried" // counts as failed
	skipped = "skipped"   // this machine cannot run it; does not count
)

// hopelessLog is the log of every case of a program that is not worth testing.
const hopelessLog = "not tried: the findings say why"

// A Report has the points of a program, and the reason for each lost point.
type Report struct {
	Program    string      `json:"program,omitempty"`
	Stage      int         `json:"stage"`
	Points     float64     `json:"points"`
	Max        float64     `json:"max"`
	Findings   []string    `json:"findings"`        // what is wrong with the program as a whole
	Notes      []string    `json:"notes,omitempty"` // about the run: what confines the program
	BuildLog   string      `json:"build_log,omitempty"`
	Categories []*category `json:"categories"`
	Cases      []*entry    `json:"cases"`
	Seconds    float64     `json:"seconds"`
	Seed       uint64      `json:"seed,omitempty"` // --seed repeats what cases choose at random

	claims    claims
	diagnosis []string          // the findings before the first case
	hinted    map[string]string // the hints that were printed, and the case of each
}

type category struct {
	Name   string  `json:"name"`
	Points float64 `json:"points"`
	Max    float64 `json:"max"`
	Passed int     `json:"passed"`
	Cases  int     `json:"cases"`
}

// An entry is one case, or one pitfall.
type entry struct {
	Name     string   `json:"name"`
	Category string   `json:"category"`
	Max      float64  `json:"max"`
	Points   float64  `json:"points"`
	Outcome  string   `json:"outcome,omitempty"`
	Claims   []string `json:"claims"`          // "name: sentence"; for a pitfall, the bug
	Log      string   `json:"log,omitempty"`   // what was sent, expected and received
	Crash    string   `json:"crash,omitempty"` // how the server crashed during the case
	Hint     string   `json:"hint,omitempty"`  // the usual cause of such a failure
	Seconds  float64  `json:"seconds"`

	ids     []string // the names of the claims
	omitted bool     // not selected with -t
}

// newReport returns a report with all cases that the stage claims, and the points of each.
func newReport(stage int, weights []weight, claims claims) *Report {
	r := &Report{Stage: stage, Findings: []string{}, claims: claims, hinted: map[string]string{}}
	counts := make([]int, len(weights))
	var of []int
	add := func(subject string, e *entry) {
		k := categoryOf(weights, subject)
		if k >= 0 {
			counts[k]++
			e.Category = weights[k].category
		}
		r.Cases, of = append(r.Cases, e), append(of, k)
	}
	for _, c := range allCases() {
		if !c.ClaimedBy(stage) {
			continue
		}
		e := &entry{Name: c.Name, ids: c.IDs}
		for _, id := range c.IDs {
			e.Claims = append(e.Claims, strings.TrimSuffix(id+": "+claims[id], ": "))
		}
		add(c.IDs[0], e)
	}
	for _, sc := range pitfalls.Scenarios() {
		if !sc.In(stage) || sc.FailsIn(stage) {
			continue
		}
		add(fmt.Sprintf("pitfall/%d/%s", sc.Stage, sc.ID), &entry{Name: pitfallName(sc), Claims: []string{"a server with this bug: " + sc.Bug}})
	}
	for i, e := range r.Cases {
		if of[i] >= 0 {
			e.Max = weights[of[i]].points / float64(counts[of[i]])
		}
	}
	for i, w := range weights {
		if counts[i] > 0 {
			r.Categories = append(r.Categories, &category{Name: w.category})
		}
	}
	return r
}

// selectCases keeps only the cases whose name, claim or category matches one of the patterns.
func (r *Report) selectCases(patterns []string) error {
	if len(patterns) == 0 {
		return nil
	}
	found := map[string]bool{}
	for _, e := range r.Cases {
		e.omitted = true
		for _, p := range patterns {
			for _, subject := range slices.Concat([]string{e.Name, strings.TrimPrefix(e.Name, "pitfall/"), e.Category}, e.ids) {
				ok, err := path.Match(p, subject)
				if err != nil {
					return fmt.Errorf("-t %s: %w", p, err)
				}
				if ok || strings.EqualFold(p, subject) {
					e.omitted = false
					found[p] = true
				}
			}
		}
	}
	for _, p := range patterns {
		if !found[p] {
			return fmt.Errorf("-t %s: stage %d has no such case, claim, pitfall or category; -l lists them, and * matches any letters", p, r.Stage)
		}
	}
	r.Cases = slices.DeleteFunc(r.Cases, func(e *entry) bool { return e.omitted })
	r.Categories = slices.DeleteFunc(r.Categories, func(c *category) bool {
		return !slices.ContainsFunc(r.Cases, func(e *entry) bool { return e.Category == c.Name })
	})
	return nil
}

func (r *Report) entry(name string) *entry {
	for _, e := range r.Cases {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// includes reports whether a case counts.
func (r *Report) includes(name string) bool { return r.entry(name) != nil }

// sourceLine matches a position in the sources of the suite, which means nothing to the author of another server.
var sourceLine = regexp.MustCompile(`cases/\w+\.go:\d+: `)

// addResult records a result of the suite.
func (r *Report) addResult(res suite.Result) {
	e := &entry{Outcome: failed, Crash: res.Crash, Seconds: res.Took.Seconds()}
	switch res.Outcome {
	case suite.Passed:
		e.Outcome = passed
	case suite.Untried:
		e.Outcome = untried
	case suite.Skipped:
		e.Outcome = skipped
	case suite.NotHere, suite.ExpectedFailure:
		return // newReport omits these cases
	}
	e.Log = sourceLine.ReplaceAllString(res.Log, "")
	r.setResult(res.Case.Name, e)
}

// afterCase begins the suite's remarks about the server after a case. A failure of the case itself is more likely
// to be the cause.
const afterCase = "after the case: "

// setResult copies the outcome of a case into its entry, and finds a hint for a failure.
func (r *Report) setResult(name string, result *entry) {
	e := r.entry(name)
	if e == nil {
		return
	}
	e.Outcome, e.Log, e.Crash, e.Seconds = result.Outcome, result.Log, result.Crash, result.Seconds
	if e.Outcome == failed {
		e.Hint = result.Hint
		if e.Hint == "" {
			own, _, both := strings.Cut(e.Log, afterCase)
			if both && strings.TrimSpace(own) == "" {
				own = e.Log
			}
			if e.Crash != "" {
				own += "\ncrash: " + e.Crash
			}
			e.Hint = hintFor(e.ids, own)
		}
	}
}

// skipAll marks every case of a program that is not worth testing as untried.
func (r *Report) skipAll() {
	for _, e := range r.Cases {
		e.Outcome, e.Log = untried, hopelessLog
	}
	r.finish()
}

// finish adds up the points, and finds causes that many failures have in common.
func (r *Report) finish() {
	r.Points, r.Max = 0, 0
	for _, c := range r.Categories {
		*c = category{Name: c.Name}
	}
	for _, e := range r.Cases {
		if e.Outcome == "" {
			e.Outcome, e.Log = untried, "not tried"
		}
		if e.Outcome == skipped {
			continue
		}
		if e.Outcome == passed {
			e.Points = e.Max
		}
		i := slices.IndexFunc(r.Categories, func(c *category) bool { return c.Name == e.Category })
		if i < 0 {
			continue
		}
		c := r.Categories[i]
		c.Cases++
		c.Max += e.Max
		c.Points += e.Points
		if e.Outcome == passed {
			c.Passed++
		}
	}
	for _, c := range r.Categories {
		r.Points += c.Points
		r.Max += c.Max
	}
	r.addCommonCauses()
}

// startFailure matches the message about a server that did not start, with its flags.
var startFailure = regexp.MustCompile(`the server does not start: (?:\S+ -p \d+(?: -R \S+)?) ?([^:\n]*): ((?:.|\n)*)`)

// portNumber matches the port, which differs in every run.
var portNumber = regexp.MustCompile(`\bport \d+`)

// addCommonCauses adds a finding for each cause of failure, with the cases that it costs.
func (r *Report) addCommonCauses() {
	type group struct {
		what  string
		names []string
	}
	var groups []*group
	note := func(what, name string) {
		for _, g := range groups {
			if g.what == what {
				g.names = append(g.names, name)
				return
			}
		}
		groups = append(groups, &group{what, []string{name}})
	}
	for _, e := range r.Cases {
		switch m := startFailure.FindStringSubmatch(e.Log); {
		case e.Outcome == untried && e.Log != hopelessLog:
			note("Some cases were not tried: "+strings.TrimPrefix(strings.TrimPrefix(e.Log, "cut short: "), "not tried: "), e.Name)
		case e.Crash != "":
			first, _, _ := strings.Cut(e.Crash, "\n")
			note("It crashed, and ended with "+first, e.Name)
		case m != nil:
			flags := "with no further flags"
			if m[1] != "" {
				flags = "with " + m[1]
			}
			note("It does not start "+flags+": "+portNumber.ReplaceAllString(strings.TrimSpace(m[2]), "the given port"), e.Name)
		}
	}
	for _, g := range groups {
		r.Findings = append(r.Findings, fmt.Sprintf("%s\n(%s: %s)", g.what, count(len(g.names), "case"), shortList(g.names, 6)))
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func shortList(names []string, n int) string {
	if len(names) > n {
		return strings.Join(names[:n], ", ") + fmt.Sprintf(" and %d more", len(names)-n)
	}
	return strings.Join(names, ", ")
}

// failure returns an error if a case failed or was not tried.
func (r *Report) failure() error {
	bad, n := 0, 0
	for _, e := range r.Cases {
		if e.Outcome != skipped {
			n++
		}
		if e.Outcome == failed || e.Outcome == untried {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%w: %d of %s failed", errFailed, bad, count(n, "case"))
	}
	return nil
}

// few is how many failures of a category are printed in full without --all.
const few = 3

func (r *Report) print(out io.Writer, all bool) error {
	p := &printer{out: out}
	p.printf("%s, graded as stage %d\n", r.Program, r.Stage)
	for _, n := range r.Notes {
		p.printf("%s\n", wrap(n, 100))
	}
	for _, c := range r.Categories {
		r.failures(p, c, all)
	}
	var cannot []string
	for _, e := range r.Cases {
		if e.Outcome == skipped {
			cannot = append(cannot, e.Name+" ("+e.Log+")")
		}
	}
	if len(cannot) > 0 {
		p.printf("\nNot counted, because this machine cannot run it: %s\n", strings.Join(cannot, ", "))
	}
	if len(r.Findings) > 0 {
		p.printf("\nProblems that affect many cases\n")
		for _, f := range r.Findings {
			p.printf("%s", bullet(f))
		}
	}
	p.printf("\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "POINTS\tOF\tCASES\tOF\t  CATEGORY")
	n, ok := 0, 0
	for _, c := range r.Categories {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t  %s\n", points(c.Points), points(c.Max), c.Passed, c.Cases, c.Name)
		n += c.Cases
		ok += c.Passed
	}
	fmt.Fprintf(w, "%s\t%s\t%d\t%d\t  all, in %.1f s\n", points(r.Points), points(r.Max), ok, n, r.Seconds)
	if err := w.Flush(); err != nil {
		return err
	}
	if n < len(allCases())+len(pitfalls.Scenarios()) {
		p.printf("(Only the cases of stage %d count; `lab grade -l` lists them.)\n", r.Stage)
	}
	return p.err
}

// failures prints the failures of a category. A finding covers the cases that were not tried.
func (r *Report) failures(p *printer, c *category, all bool) {
	shown := 0
	var rest []string
	for _, e := range r.Cases {
		if e.Category != c.Name || e.Outcome != failed {
			continue
		}
		if shown == few && !all {
			rest = append(rest, e.Name)
			continue
		}
		shown++
		p.printf("\nFAIL %s (%s, %s)\n", e.Name, c.Name, worth(e.Max))
		label := "claimed"
		if len(e.ids) == 0 {
			label = "pitfall"
		}
		for _, words := range e.Claims {
			p.printf("  %s  %s\n", label, strings.ReplaceAll(wrap(words, 100), "\n", "\n           "))
		}
		p.printf("%s", block(e.Log))
		if e.Crash != "" {
			p.printf("  CRASHED  the server ended during this case: %s\n", strings.TrimSpace(e.Crash))
		}
		switch before := r.hinted[e.Hint]; {
		case e.Hint == "":
		case before != "":
			p.printf("  This usually means: the same as in %s\n", before)
		default:
			r.hinted[e.Hint] = e.Name
			p.printf("  %s\n", strings.ReplaceAll(wrap(usually(e.Hint), 100), "\n", "\n  "))
		}
	}
	if len(rest) > 0 {
		p.printf("\n%s\n", strings.ReplaceAll(wrap(fmt.Sprintf("%s of %q failed: %s (-t NAME runs one of them, --all shows all)",
			count(len(rest), "more case"), c.Name, shortList(rest, 12)), 100), "\n", "\n  "))
	}
}

// usually returns the sentence for a hint. A pitfall's hint begins with "that", which takes no colon.
func usually(hint string) string {
	if strings.HasPrefix(hint, "that ") {
		return "This usually means " + hint + "."
	}
	return "This usually means: " + hint
}

// A printer keeps the first error, so that callers check it once at the end.
type printer struct {
	out io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(p.out, format, args...); err != nil && p.err == nil {
		p.err = err
	}
}

// points formats points with one decimal, rounded down so that 99.99 is not 100.0. Less than 0.1 gets two decimals.
func points(x float64) string {
	if cut := float64(int(x*10+1e-6)) / 10; cut > 0 || x < 1e-6 {
		return fmt.Sprintf("%.1f", cut)
	}
	return fmt.Sprintf("%.2f", x)
}

func worth(x float64) string {
	if x > 0.995 && x < 1.005 {
		return "1 point"
	}
	return fmt.Sprintf("%.2f points", x)
}

// maxLines is how many lines of a failure's log are printed.
const maxLines = 24

// block indents a failure's log, and cuts lines after 240 characters.
func block(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	if len(lines) > maxLines {
		lines = append(lines[:maxLines], fmt.Sprintf("… and %d more lines (--json prints all of them)", len(lines)-maxLines))
	}
	var b strings.Builder
	for _, line := range lines {
		line = strings.ReplaceAll(line, "\t", "  ")
		if r := []rune(line); len(r) > 240 {
			line = string(r[:240]) + "…"
		}
		b.WriteString("    " + line + "\n")
	}
	return b.String()
}

// bullet returns a finding as an item of a list. Only the lines of a program's output, which begin with |, are not
// wrapped.
func bullet(text string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSpace(text), "\t", ""), "\n") {
		if !strings.HasPrefix(line, "|") {
			line = wrap(line, 100)
		}
		lines = append(lines, strings.Split(line, "\n")...)
	}
	return "  * " + strings.Join(lines, "\n    ") + "\n"
}

// wrap breaks text between words into lines of at most width characters.
func wrap(text string, width int) string {
	var b strings.Builder
	n := 0
	for _, w := range strings.Fields(text) {
		size := len([]rune(w))
		switch {
		case n > 0 && n+1+size > width:
			b.WriteString("\n")
			n = 0
		case n > 0:
			b.WriteString(" ")
			n++
		}
		b.WriteString(w)
		n += size
	}
	return b.String()
}

// list prints the cases with their points.
func (r *Report) list(out io.Writer, asJSON bool) error {
	for _, e := range r.Cases {
		r.Max += e.Max
		if i := slices.IndexFunc(r.Categories, func(c *category) bool { return c.Name == e.Category }); i >= 0 {
			r.Categories[i].Cases++
			r.Categories[i].Max += e.Max
		}
	}
	if asJSON {
		return encode(out, r)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CATEGORY\tCASE\tPOINTS\tCLAIMS")
	for _, c := range r.Categories {
		for _, e := range r.Cases {
			if e.Category != c.Name {
				continue
			}
			what := strings.Join(e.ids, " ")
			if len(e.ids) == 0 {
				what = strings.Join(e.Claims, " ")
			}
			fmt.Fprintf(w, "%s\t%s\t%.2f\t%s\n", c.Name, e.Name, e.Max, what)
		}
	}
	fmt.Fprintf(w, "\nstage %d: %s, %s points\n", r.Stage, count(len(r.Cases), "case"), points(r.Max))
	return w.Flush()
}
