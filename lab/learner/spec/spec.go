// Package spec tests a server against docs/spec.md, claim by claim.
package spec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"fourways.example/common/servertest/cases"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/suite"
)

// Command is `lab spec`.
type Command struct {
	Exec  string `required:"" placeholder:"PROGRAM" help:"The server: a program with the command line of docs/spec.md."`
	Stage int    `placeholder:"N" help:"The stage that the program implements, 1 to 4. The default is the digit after \"stage\" in the name of the program; otherwise 4."`
	Only  string `name:"run" placeholder:"REGEXP" help:"Run only the cases whose name, or the name of a claim, matches."`
	Doc   string `default:"docs/spec.md" help:"The document with the text of the claims."`
}

// Run runs the cases and prints the table. It returns an error if a case fails.
func (c *Command) Run(ctx context.Context) error {
	path, err := process.Executable(c.Exec)
	if err != nil {
		return err
	}
	prog := &process.Program{Path: path, Stage: c.stage()}
	keep, err := c.filter()
	if err != nil {
		return err
	}
	claims, err := readClaims(c.Doc)
	if err != nil {
		return err
	}
	start := time.Now()
	results, err := suite.RunProgram(ctx, prog, cases.All(), keep)
	failed := c.print(os.Stdout, claims, results)
	fmt.Printf("stage %d, in %v\n", prog.Stage, time.Since(start).Round(10*time.Millisecond))
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d cases failed", failed, len(results)))
	}
	return err
}

func (c *Command) stage() int {
	if c.Stage != 0 {
		return c.Stage
	}
	if m := regexp.MustCompile(`stage([1-4])`).FindStringSubmatch(filepath.Base(c.Exec)); m != nil {
		return int(m[1][0] - '0')
	}
	return 4
}

func (c *Command) filter() (func(suite.Case) bool, error) {
	if c.Only == "" {
		return nil, nil
	}
	re, err := regexp.Compile(c.Only)
	if err != nil {
		return nil, err
	}
	return func(k suite.Case) bool {
		return re.MatchString(k.Name) || slices.ContainsFunc(k.IDs, re.MatchString)
	}, nil
}

// A claim is one claim of docs/spec.md.
type claim struct{ id, text string }

// readClaims reads the claims in the order of the document. If the document does not exist, it returns no claims.
func readClaims(path string) ([]claim, error) {
	doc, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var claims []claim
	// The further lines of a claim are indented.
	for _, m := range regexp.MustCompile("(?m)^- `([a-z0-9-]+)`: (.*(?:\n  .*)*)").FindAllStringSubmatch(string(doc), -1) {
		claims = append(claims, claim{m[1], strings.Join(strings.Fields(m[2]), " ")})
	}
	return claims, nil
}

// print writes the table of claims, cases and results, then the log of each failure, then the totals. It returns
// the number of cases that failed.
func (c *Command) print(out io.Writer, claims []claim, results []suite.Result) (failed int) {
	casesOf := map[string][]suite.Result{}
	totals := map[suite.Outcome]int{}
	for _, r := range results {
		totals[r.Outcome]++
		for _, id := range r.Case.IDs {
			casesOf[id] = append(casesOf[id], r)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CLAIM\tCASE\tRESULT\tTOOK\tTEXT")
	held := 0
	for _, cl := range claims {
		all := casesOf[cl.id]
		if len(all) == 0 {
			continue
		}
		if !slices.ContainsFunc(all, func(r suite.Result) bool { return r.Outcome == suite.Failed }) {
			held++
		}
		for i, r := range all {
			id, text := cl.id, shorten(cl.text)
			if i > 0 {
				id, text = "", ""
			}
			fmt.Fprintf(w, "%s\t%s\t%v\t%v\t%s\n", id, r.Case.Name, r.Outcome, r.Took.Round(time.Millisecond), text)
		}
	}
	_ = w.Flush()
	for _, r := range results {
		if r.Outcome == suite.Failed {
			fmt.Fprintf(out, "\nFAIL %s\n%s\n", r.Case.Name, r.Log)
		}
	}
	fmt.Fprintf(out, "\n%d claims, %d without a failed case; %d cases: %d ok, %d failed as expected, %d not in this stage, %d skipped, %d FAILED\n",
		len(casesOf), held, len(results), totals[suite.Passed], totals[suite.ExpectedFailure],
		totals[suite.NotHere], totals[suite.Skipped], totals[suite.Failed])
	return totals[suite.Failed]
}

// shorten cuts the text of a claim so that a row of the table fits on a wide terminal.
func shorten(text string) string {
	text = strings.ReplaceAll(text, "`", "")
	if r := []rune(text); len(r) > 80 {
		return string(r[:79]) + "…"
	}
	return text
}
