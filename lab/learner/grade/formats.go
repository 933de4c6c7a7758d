package grade

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// write prints the report in one of the formats for programs.
func (r *Report) write(out io.Writer, format string) error {
	switch format {
	case "gradescope":
		return encode(out, r.gradescope())
	case "junit":
		return r.junit(out)
	}
	return encode(out, r)
}

func encode(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// A gradescopeResult is the results.json of https://gradescope-autograders.readthedocs.io/en/latest/specs/.
type gradescopeResult struct {
	Score         float64          `json:"score"`
	ExecutionTime float64          `json:"execution_time"` // seconds
	Output        string           `json:"output"`
	OutputFormat  string           `json:"output_format"`
	Visibility    string           `json:"visibility"`
	StdoutVisible string           `json:"stdout_visibility"`
	ExtraData     map[string]any   `json:"extra_data"`
	Tests         []gradescopeTest `json:"tests"`
}

type gradescopeTest struct {
	Score        float64  `json:"score"`
	MaxScore     float64  `json:"max_score"`
	Status       string   `json:"status"` // passed or failed
	Name         string   `json:"name"`
	Number       string   `json:"number"`
	Output       string   `json:"output"`
	OutputFormat string   `json:"output_format"`
	Tags         []string `json:"tags"`
	Visibility   string   `json:"visibility"`
}

// gradescope lists the milestones as the groups of Gradescope, and the cases as its tests.
func (r *Report) gradescope() gradescopeResult {
	res := gradescopeResult{
		Score: cents(r.Points), ExecutionTime: r.Seconds, Output: r.summary(), OutputFormat: "text",
		Visibility: "visible", StdoutVisible: "hidden", Tests: []gradescopeTest{},
		ExtraData: map[string]any{"stage": r.Stage, "seed": r.Seed, "max": cents(r.Max)},
	}
	for _, g := range r.rungs(milestones) {
		for i, e := range g.entries {
			if e.Outcome == skipped {
				continue // it does not count
			}
			t := gradescopeTest{
				Score: cents(e.Points), MaxScore: cents(e.Max), Status: "failed", Name: g.title + ": " + e.Name,
				Number: fmt.Sprintf("%d.%d", g.number, i+1), Output: e.explain(), OutputFormat: "text",
				Tags: append([]string{}, e.ids...), Visibility: "visible",
			}
			if e.Outcome == passed {
				t.Status = "passed"
			}
			res.Tests = append(res.Tests, t)
		}
	}
	return res
}

// cents rounds points to four digits.
func cents(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// summary says in a few lines how far the program gets, and what is wrong with it as a whole.
func (r *Report) summary() string {
	var b strings.Builder
	rungs := r.rungs(milestones)
	held := 0
	for held < len(rungs) {
		if first, _ := rungs[held].failure(); first != nil {
			break
		}
		held++
	}
	fmt.Fprintf(&b, "Stage %d: %s of %s points, %d of %d milestones.\n", r.Stage, points(r.Points), points(r.Max), held, len(rungs))
	if held < len(rungs) {
		fmt.Fprintf(&b, "Next: %s. %s\n", rungs[held].title, rungs[held].says)
	}
	for _, f := range r.Findings {
		b.WriteString(bullet(f))
	}
	for _, n := range r.Notes {
		b.WriteString(n + "\n")
	}
	if r.BuildLog != "" {
		b.WriteString("\nThe build said:\n" + r.BuildLog)
	}
	return b.String()
}

// explain describes a case that has failed.
func (e *entry) explain() string {
	if e.Outcome == passed {
		return strings.Join(e.Claims, "\n")
	}
	var b strings.Builder
	for _, words := range e.Claims {
		b.WriteString("claimed: " + words + "\n")
	}
	if e.Crash != "" {
		b.WriteString("CRASHED: " + strings.TrimSpace(e.Crash) + "\n")
	}
	b.WriteString(block(e.Log))
	if e.Hint != "" {
		b.WriteString(usually(e.Hint) + "\n")
	}
	return b.String()
}

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Time    string       `xml:"time,attr"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Properties []junitProperty `xml:"properties>property,omitempty"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string    `xml:"classname,attr"`
	Name    string    `xml:"name,attr"`
	Time    string    `xml:"time,attr"`
	Failure *junitWhy `xml:"failure"`
	Error   *junitWhy `xml:"error"` // the server crashed, or the case was not tried
	Skipped *junitWhy `xml:"skipped"`
}

type junitWhy struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junit writes a suite for each milestone.
func (r *Report) junit(out io.Writer) error {
	all := junitSuites{Time: seconds(r.Seconds)}
	for _, g := range r.rungs(milestones) {
		s := junitSuite{Name: fmt.Sprintf("%02d %s", g.number, g.title), Tests: len(g.entries)}
		if g.number == 1 {
			s.Properties = []junitProperty{{"program", r.Program}, {"seed", fmt.Sprint(r.Seed)}, {"summary", r.summary()}}
		}
		total := 0.0
		for _, e := range g.entries {
			c := junitCase{Class: g.title, Name: e.Name, Time: seconds(e.Seconds)}
			first, _, _ := strings.Cut(strings.TrimSpace(e.Log), "\n")
			why := &junitWhy{first, e.explain()}
			switch {
			case e.Outcome == skipped:
				c.Skipped = why
				s.Skipped++
			case e.Outcome == failed && e.Crash == "":
				c.Failure = why
				s.Failures++
			case e.Outcome != passed:
				c.Error = why
				s.Errors++
			}
			total += e.Seconds
			s.Cases = append(s.Cases, c)
		}
		s.Time = seconds(total)
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(out)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }
