// Package mutants tests the tests. It makes one small change in the sources of common/ or in a stage's server.go,
// runs the tests, and repeats this with another change. A changed program is a mutant. If a test fails, the mutant is
// killed. If a mutant survives, either the tests miss a possible mistake or the change has no effect.
//
// # Operators
//
// The operators find the possible changes in the syntax tree:
//
//	negate     negates the condition of an if, a for or a case
//	drop       removes a statement: an assignment, a call, a defer or go, x++ or x--
//	boundary   swaps < and <=, or > and >=
//	constant   adds 1 to an integer or subtracts 1 from it; 16 << 10 is one integer
//	swap       exchanges two adjacent arguments of the same type
//	equal      swaps == and != if the comparison is not a whole condition
//	logic      swaps && and ||
//	nil-error  returns nil instead of an error
//
// A mutant that does not compile says nothing about the tests, so each one is type-checked first.
//
// # The sample
//
// There are a few thousand mutants, so a run tests a sample. The share of a package is proportional to its number of
// mutants, with a minimum. A hash of the seed and the mutant's description decides which mutants are in the sample, so
// an edit in one function does not change the sample in other functions.
//
// # Tests
//
// The changed file is in a temporary folder, and go test -overlay uses it: the working tree is never changed. The
// tests are run in this order until one fails:
//
//  1. the tests of the mutant's own package,
//  2. the tests of the packages in common/ that import it,
//  3. the conformance suite, against the stages of --stages that contain the package,
//  4. the scenarios of the pitfalls, against the stages that contain the package.
//
// A mutant of a stage's server.go is tested with all tests of that stage instead. Before its first
// mutant, each set of tests runs without a mutant; if it fails, the command fails. A set of tests that takes more than
// four times as long as without a mutant, plus 20 s, is ended, and the mutant counts as killed. The tests in 3 and 4
// depend on processes and clocks, so a failure there must happen twice.
//
// # Equivalent mutants
//
// Some changes have no effect that a test can see, such as a buffer that is one byte larger. equivalent.txt lists
// them, each with the reason. They are not run, and they do not count in the kill rate.
//
// # Resuming a run
//
// With --state FILE each result is saved. The next run with the same file reuses the results that are still valid: a
// kill while the mutated file is unchanged, a survivor while all sources and tests are unchanged. So an interrupted run
// resumes, and after a new test only the survivors are run again.
package mutants

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"fourways.example/common/servertest/variants"
)

// Command is `lab mutants`.
type Command struct {
	Seed    int64         `default:"1" help:"The seed of the sample."`
	Sample  int           `default:"200" help:"The number of mutants to test; 0 is all."`
	Only    string        `placeholder:"REGEXP" help:"Test only mutants whose description, as --list prints it, matches: common/h1/, Conn.Next, \" swap: \"."`
	List    bool          `short:"l" help:"List the sample without running it."`
	Jobs    int           `default:"2" help:"The number of mutants to test at the same time."`
	Stages  []int         `default:"4,2" help:"The stages whose conformance suites test a mutant of common/."`
	Min     float64       `default:"90" help:"The smallest kill rate, in percent, with which the command succeeds."`
	Limit   time.Duration `default:"3h" help:"Stop after this time; with --state the next run resumes."`
	Timeout time.Duration `default:"5m" help:"The longest time for a test of a mutant, however long the test takes without it."`
	State   string        `placeholder:"FILE" help:"Save the results in this file, and reuse those that are still valid."`
	JSON    string        `name:"json" placeholder:"FILE" help:"Also write the report as JSON to this file."`
}

// Help returns the text that --help prints above the flags.
func (c *Command) Help() string {
	return `Makes one small change in common/ or in a stage's server.go (negates a condition, drops a statement,
changes a constant, …), runs the tests, and repeats this with other changes. A mutant survives if no test
fails. The files of the sources are not changed. A killed mutant takes about 5 s, a survivor more than a
minute. --sample 12 gives a first impression, --only common/stream tests one package, and --state saves the
results so that an interrupted run can resume. lab/maintainer/mutants/equivalent.txt lists the mutants
that no test can kill, with the reasons.`
}

//go:embed equivalent.txt
var equivalentText string

// Run draws the sample, tests it and prints the report. It returns an error if too few mutants are killed.
func (c *Command) Run(ctx context.Context) error {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	return c.run(ctx, repoWorld(repo.Root, c.Stages), equivalentText, os.Stdout)
}

// run is Run for any world, so that tests can use a small one.
func (c *Command) run(ctx context.Context, w *world, equivalent string, out io.Writer) error {
	start := time.Now()
	known, err := readEquivalent(equivalent)
	if err != nil {
		return err
	}
	pattern, err := regexp.Compile(c.Only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	if err := w.load(ctx); err != nil {
		return err
	}
	all := w.mutants()
	for _, key := range stale(known, all) {
		fmt.Fprintf(out, "note: equivalent.txt has a mutant that does not exist any more: %s\n", key)
	}
	all = slices.DeleteFunc(all, func(m *mutant) bool { return !pattern.MatchString(m.key()) })
	sample := w.draw(all, c.Sample, c.Seed)
	if len(sample) == 0 {
		return errors.New("no mutant matches")
	}
	if c.List {
		for _, m := range sample {
			fmt.Fprintf(out, "%s\n", m.key())
		}
		fmt.Fprintf(out, "%d of %d mutants\n", len(sample), len(all))
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, c.Limit)
	defer cancel()
	rep := &report{Seed: c.Seed, Of: len(all), Sample: len(sample)}
	err = c.test(limited, w, sample, known, rep, out)
	rep.Seconds = time.Since(start).Round(100 * time.Millisecond).Seconds()
	rep.print(out)
	if c.JSON != "" {
		err = errors.Join(err, rep.write(c.JSON))
	}
	if ctx.Err() != nil {
		return errors.Join(err, errors.New("interrupted"))
	}
	return errors.Join(err, rep.failure(c.Min))
}

// test tests the sample, c.Jobs mutants at a time.
func (c *Command) test(ctx context.Context, w *world, sample []*mutant, known map[string]string, rep *report, out io.Writer) error {
	memory, err := openState(c.State, w)
	if err != nil {
		return err
	}
	defer memory.close()
	r, err := newRunner(w, c.Timeout)
	if err != nil {
		return err
	}
	defer r.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu    sync.Mutex // protects rep, fatal and out
		fatal error
		wg    sync.WaitGroup
	)
	work := make(chan *mutant)
	for range max(c.Jobs, 1) {
		wg.Go(func() {
			for m := range work {
				res, err := c.one(ctx, r, m, known, memory)
				mu.Lock()
				switch {
				case err != nil && ctx.Err() == nil:
					fatal = err
					cancel()
				case err == nil:
					rep.add(res)
					fmt.Fprintf(out, "[%*d/%d] %s\n", len(fmt.Sprint(len(sample))), len(rep.Results), len(sample), res.line())
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range sample {
		select {
		case work <- m:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	return fatal
}

// one returns the result for one mutant: from equivalent.txt, from the saved state, or from the tests.
func (c *Command) one(ctx context.Context, r *runner, m *mutant, known map[string]string, memory *state) (*result, error) {
	res := m.result()
	if why, ok := known[m.key()]; ok {
		res.Status, res.Why = equivalent, why
		return res, nil
	}
	if memory.recall(m, res) {
		return res, nil
	}
	start := time.Now()
	if err := r.test(ctx, m, res); err != nil {
		return nil, err
	}
	res.Seconds = time.Since(start).Round(100 * time.Millisecond).Seconds()
	return res, memory.keep(m, res)
}

// readEquivalent reads the list of equivalent mutants: a mutant's description on one line, then the reason on indented
// lines. A line that begins with # is a comment.
func readEquivalent(text string) (map[string]string, error) {
	known := map[string]string{}
	key := ""
	for line := range strings.Lines(text) {
		words := strings.TrimSpace(line)
		switch {
		case words == "" || strings.HasPrefix(line, "#"):
		case !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, " "):
			key = words
			if _, ok := known[key]; ok {
				return nil, fmt.Errorf("equivalent.txt: %s is listed twice", key)
			}
			known[key] = ""
		case key == "":
			return nil, fmt.Errorf("equivalent.txt: a reason without a mutant: %s", words)
		default:
			known[key] = strings.TrimSpace(known[key] + " " + words)
		}
	}
	for key, why := range known {
		if why == "" {
			return nil, fmt.Errorf("equivalent.txt: %s has no reason", key)
		}
	}
	return known, nil
}

// stale returns the entries of equivalent.txt that match no mutant.
func stale(known map[string]string, all []*mutant) []string {
	left := map[string]bool{}
	for key := range known {
		left[key] = true
	}
	for _, m := range all {
		delete(left, m.key())
	}
	keys := make([]string, 0, len(left))
	for key := range left {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// write writes the report as JSON.
func (r *report) write(path string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// byPlace orders results by file and line.
func byPlace(a, b *result) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Mutant, b.Mutant))
}
