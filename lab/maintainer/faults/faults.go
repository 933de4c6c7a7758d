// Package faults makes system calls of the servers fail, one call and one error at a time, and observes what
// happens. strace(1) injects the errors. The result is a table in docs/security.md. The package also writes that page's
// table of bounds, with the amounts in the sources.
//
// To add a row, add a value to [rows]: the names of the call, what it is for, the error, the steps of a client before
// the fault, and the step that causes the call. A row whose call does not happen is an error, so a row cannot become
// stale.
package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
)

// Command is `lab faults`.
type Command struct {
	Bounds bool   `help:"Only write the table of bounds, which needs neither strace nor servers."`
	Check  bool   `help:"Compare the outcomes with the table in docs/security.md instead of writing it."`
	Quick  bool   `help:"Run only the rows for CI, on stages 2 and 4. This needs --check."`
	Only   string `placeholder:"REGEXP" help:"Run only the rows that match, as in 'accept4.*EMFILE', and write nothing."`
	Stages []int  `default:"1,2,3,4" help:"The stages to run. The table is only written for all."`
	Jobs   int    `default:"2" help:"How many servers to test at the same time."`
	Runs   int    `default:"2" help:"How often to try each row; the table says so if the outcome varies."`
	Doc    string `default:"docs/security.md" help:"The document, from the root of the repository."`
}

// Help returns the text that --help prints above the flags.
func (c *Command) Help() string {
	return `Starts the servers, makes one system call fail with one error, and observes the answer, the log, the
descriptors, the CPU time, and whether other clients are served. It writes a table into docs/security.md, or with
--check compares the table with the outcomes. It needs strace and the servers of make build.`
}

// Run runs the rows and writes or checks the table.
func (c *Command) Run(ctx context.Context) error {
	begun := time.Now()
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	path := filepath.Join(repo.Root, filepath.FromSlash(c.Doc))
	if c.Bounds {
		return writeBounds(path)
	}
	if err := straceMissing(); err != nil {
		return err
	}
	if c.Quick {
		if !c.Check {
			return errors.New("--quick writes no table; add --check")
		}
		c.Stages, c.Runs = []int{2, 4}, 1
	}
	all, err := c.selected()
	if err != nil {
		return err
	}
	var want map[string]map[int]string
	if c.Check {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if want, err = readTable(string(text)); err != nil {
			return fmt.Errorf("%s: %w", c.Doc, err)
		}
	}
	got, err := c.try(ctx, repo, all, want)
	if err != nil && c.Check && got != nil {
		return errors.Join(err, compare(all, got, want))
	}
	if err != nil {
		return err
	}
	table := writeTable(all, got)
	trials := 0
	for _, r := range got {
		trials += len(r.outcomes)
	}
	defer func() {
		fmt.Printf("%d rows, %d outcomes in %v\n", len(all), trials, time.Since(begun).Round(100*time.Millisecond))
	}()
	switch {
	case c.Check:
		return compare(all, got, want)
	case c.Only != "" || len(c.Stages) != 4:
		fmt.Print(table)
		return nil
	}
	return replace(path, tableBegin, tableEnd, table)
}

// selected returns the rows that the flags select.
func (c *Command) selected() ([]row, error) {
	pattern, err := regexp.Compile(c.Only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	all := slices.DeleteFunc(rows(), func(r row) bool { return c.Quick && !r.quick || !pattern.MatchString(r.key()) })
	if len(all) == 0 {
		return nil, errors.New("no row matches")
	}
	return all, nil
}

// A result has the outcomes of a row by stage. A stage without the row, or that does not make the call, has none.
type result struct{ outcomes map[int]string }

// try runs all rows against the stages.
func (c *Command) try(ctx context.Context, repo *variants.Repo, all []row, want map[string]map[int]string) ([]result, error) {
	top, err := os.MkdirTemp("", "faults-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(top) }()
	root, err := docroot.New(top)
	if err != nil {
		return nil, err
	}
	for name, size := range map[string]int{
		"medium.bin": 300 << 10, // fits into a send queue, and not into a window of 4 KiB
		"large.bin":  6 << 20,   // fits into no send queue, see tcp_wmem in tcp(7)
	} {
		if err := root.Put(name, make([]byte, size)); err != nil {
			return nil, err
		}
	}
	type job struct{ row, stage int }
	var (
		mu   sync.Mutex
		errs []error
		wg   sync.WaitGroup
		work = make(chan job)
		got  = make([]result, len(all))
	)
	for i := range got {
		got[i] = result{map[int]string{}}
	}
	for range max(c.Jobs, 1) {
		wg.Go(func() {
			for j := range work {
				r := &all[j.row]
				bin := filepath.Join(repo.Root, "bin", stages.Dirs[j.stage])
				outcome, err := c.settle(r, j.stage, bin, root, want[r.key()][j.stage])
				mu.Lock()
				if err == nil {
					got[j.row].outcomes[j.stage] = outcome
				} else {
					errs = append(errs, fmt.Errorf("stage %d: %s: %w", j.stage, r.key(), err))
				}
				mu.Unlock()
			}
		})
	}
	for i := range all {
		for _, stage := range c.Stages {
			if all[i].serves(stage) && ctx.Err() == nil {
				work <- job{i, stage}
			}
		}
	}
	close(work)
	wg.Wait()
	if ctx.Err() == nil {
		errs = append(errs, checkCensus(c.Stages, filepath.Join(repo.Root, "bin"), root))
	}
	return got, errors.Join(append(errs, ctx.Err())...)
}

// settle runs a row against a stage, c.Runs times. If the outcomes differ, it returns all of them. If a run does not
// show the expected outcome, it runs the row once more, because the machine may have been busy; want is "" if nothing
// is expected.
func (c *Command) settle(r *row, stage int, bin string, root *docroot.Root, want string) (outcome string, err error) {
	var all []string
	runs := max(c.Runs, 1)
	if want != "" {
		runs++
	}
	for len(all) < runs {
		outcome, err = attempt(r, stage, bin, root)
		if err != nil || want != "" && outcome == want {
			return outcome, err
		}
		all = append(all, outcome)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " — or, the outcome varies: "), nil
}

// attempt runs a row against a stage once. It repeats a run in which the call did not fail, because the Go scheduler
// may have moved it to another thread, and one that did not get as far as the fault, because the machine was busy.
func attempt(r *row, stage int, bin string, root *docroot.Root) (outcome string, err error) {
	for range 6 {
		t := trial{row: r, stage: stage, bin: bin, root: root}
		outcome, err = t.run()
		if !errors.Is(err, errMissed) && !errors.Is(err, errBefore) {
			break
		}
	}
	return outcome, err
}
