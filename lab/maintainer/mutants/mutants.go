// Package mutants asks whether the tests would notice: it changes one small thing in the sources
// of common/ or of a stage's server.go and runs the tests, again and again. A mutant that
// some test fails for is killed. One that survives shows a line that could be wrong without anybody
// knowing, or a change that changes nothing.
//
// # Operators
//
// The changes are found on the syntax tree:
//
//	negate     the condition of an if, a for or a case is turned into its opposite
//	drop       a statement is left out: an assignment, a call, a defer or go, x++ and x--
//	boundary   < becomes <=, > becomes >=, and the other way round
//	constant   an integer is one more, or one less; 16 << 10 is one integer
//	swap       two neighbouring arguments of the same type change places
//	equal      == becomes !=, and the other way round, where that is not a whole condition
//	logic      && becomes ||, and the other way round
//	nil-error  return …, err becomes return …, nil
//
// A mutant that does not compile proves nothing: each is type-checked before it is taken.
//
// # The sample
//
// There are a few thousand mutants; a sample is drawn from them. Each package gets a share by
// its size, and a few at least. Which ones is decided by a hash of the seed and the mutant's description,
// so an edit in one function leaves the sample in all others as it was.
//
// # Tests
//
// A mutant exists only in a temporary folder and in what go build -overlay makes of it: the
// working tree is read, never written. The tests are built with it and run until one fails:
//
//  1. the tests of the mutant's own package,
//  2. those of the packages of common/ that import it,
//  3. docs/spec.md, by the conformance suite of the stages --stages that contain it,
//  4. the scenarios of the pitfalls, against the stages that contain it.
//
// A mutant of a stage's server.go is run against all tests of that stage instead. A test that takes four
// times as long as without a mutant, and 20 s more, is ended, and the mutant counts as killed. The suites
// of 3 and 4 look at processes and clocks: what fails in them is tried again before it counts. All
// tests are run once without a mutant first; if they fail then, so does the command.
//
// # Equivalent mutants
//
// Some changes change nothing that a test could see: a buffer that is a byte larger. They are listed in
// equivalent.txt, each with the reason. They are not run, and not part of the kill rate.
//
// # Going on
//
// With --state FILE each result is kept. The next run with that file takes over what still holds: a
// kill as long as the mutated file is the same, a survivor as long as no source and no test has changed.
// So a run that was interrupted goes on, and after a test was added only the survivors are run again.
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
	Seed    int64         `default:"1" help:"Which sample is drawn."`
	Sample  int           `default:"200" help:"How many mutants; 0 takes all."`
	Only    string        `placeholder:"REGEXP" help:"Only mutants whose description matches, as --list prints it: common/h1/, Conn.Next, \" swap: \"."`
	List    bool          `short:"l" help:"List the sample and run nothing."`
	Jobs    int           `default:"2" help:"How many mutants are tested at once."`
	Stages  []int         `default:"4,2" help:"Whose conformance suites a mutant of common/ is tested with."`
	Min     float64       `default:"90" help:"The kill rate in percent below which the command fails."`
	Limit   time.Duration `default:"3h" help:"When this time is over the rest is not tried; with --state the next run goes on."`
	Timeout time.Duration `default:"5m" help:"No test of a mutant may take longer, however long it takes without one."`
	State   string        `placeholder:"FILE" help:"Keep results in this file, and take over those that still hold."`
	JSON    string        `name:"json" placeholder:"FILE" help:"Write the report for programs, too."`
}

// Help is what --help says below the flags' summary.
func (c *Command) Help() string {
	return `Changes one small thing in common/ or in a stage's server.go (a negated condition, a dropped
statement, a boundary, a constant, swapped arguments, …), runs the tests, and says which changes no test
noticed. The sources are not touched. Killed mutants take 5 s or so each, survivors a minute and more:
--sample 12 gives an impression, --only common/stream all about one package, and --state keeps results
so that an interrupted run goes on. Mutants that change nothing are listed, with the reason, in
lab/maintainer/mutants/equivalent.txt.`
}

//go:embed equivalent.txt
var equivalentText string

// Run draws the sample, tests it and prints. It returns an error if too few mutants are killed.
func (c *Command) Run(ctx context.Context) error {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	return c.run(ctx, course(repo.Root, c.Stages), equivalentText, os.Stdout)
}

// run is Run for any world.
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
		fmt.Fprintf(out, "note: equivalent.txt has a mutant that is no more: %s\n", key)
	}
	all = slices.DeleteFunc(all, func(m *mutant) bool { return !pattern.MatchString(m.key()) })
	sample := w.draw(all, c.Sample, c.Seed)
	if len(sample) == 0 {
		return errors.New("there is no such mutant")
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
	return errors.Join(err, rep.verdict(c.Min))
}

// test tests the sample, as many at once as there are jobs.
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
		mu    sync.Mutex // of rep, fatal and out
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

// one is the result for one mutant: known, remembered, or tested.
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

// readEquivalent reads the list: a mutant's description on a line of its own, and the reason on
// indented lines below it. Lines with a # are for the reader.
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
				return nil, fmt.Errorf("equivalent.txt: %s is there twice", key)
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
			return nil, fmt.Errorf("equivalent.txt: no reason for %s", key)
		}
	}
	return known, nil
}

// stale are the entries that no mutant has.
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

// write writes the report for programs.
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

// byPlace sorts results as a reader of the sources meets them.
func byPlace(a, b *result) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Mutant, b.Mutant))
}
