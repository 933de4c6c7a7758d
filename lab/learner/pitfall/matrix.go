package pitfall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
)

// Matrix is `lab matrix`. It runs every pitfall against the server with the bug and against the four stages.
type Matrix struct {
	Check bool   `help:"Compare the document with the results instead of writing it."`
	Doc   string `default:"docs/pitfalls.md" help:"The document to write, from the root of the repository."`
	Only  string `placeholder:"ID" help:"Run only this pitfall, and write no document."`
	Lanes int    `default:"4" help:"How many servers to test at the same time."`
}

const (
	passes  = "✓"
	fails   = "✗"
	absent  = "–"
	unknown = "?"
)

// A row has the results of one pitfall: for the broken server, then for stages 1 to 4.
type row struct {
	pitfalls.Pitfall
	cells [5]string
}

// Run plays every pitfall, prints the table, and writes or checks the document.
func (m *Matrix) Run(ctx context.Context) error {
	start := time.Now()
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	rows, played, err := m.play(ctx, repo)
	fmt.Print(table(rows))
	fmt.Printf("\n%d pitfalls, %d runs in %v\n", len(rows), played, time.Since(start).Round(100*time.Millisecond))
	if err != nil {
		return err
	}
	if m.Only != "" {
		return nil
	}
	path := filepath.Join(repo.Root, filepath.FromSlash(m.Doc))
	notes, err := notes(repo)
	if err != nil {
		return err
	}
	text := document(rows, notes)
	if !m.Check {
		return os.WriteFile(path, []byte(text), 0o644)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if string(old) != text {
		return fmt.Errorf("%s does not match this run%s\nIf this run is right, write the document anew: make matrix", m.Doc, firstDifference(string(old), text))
	}
	return nil
}

// play plays the scenarios and returns the rows. The error has every unexpected result.
func (m *Matrix) play(ctx context.Context, repo *variants.Repo) (rows []*row, played int, err error) {
	all, err := pitfalls.All(repo)
	if err != nil {
		return nil, 0, err
	}
	for _, p := range all {
		if m.Only == "" || m.Only == p.ID {
			rows = append(rows, &row{p, [5]string{absent, absent, absent, absent, absent}})
		}
	}
	shop, err := repo.NewWorkshop()
	if err != nil {
		return nil, 0, err
	}
	defer shop.Close()
	top, err := os.MkdirTemp("", "matrix-")
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = os.RemoveAll(top) }()
	root, err := docroot.New(top)
	if err != nil {
		return nil, 0, err
	}
	type cell struct {
		row    *row
		column int
	}
	var (
		mu   sync.Mutex
		errs []error
		wg   sync.WaitGroup
		work = make(chan cell)
	)
	for range max(m.Lanes, 1) {
		wg.Go(func() {
			for c := range work {
				mark, err := c.row.try(ctx, shop, root, c.column)
				mu.Lock()
				c.row.cells[c.column] = mark
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
			}
		})
	}
	for _, r := range rows {
		for column := range r.cells {
			if ctx.Err() == nil && (column == 0 || r.In(column)) {
				work <- cell{r, column}
				played++
			}
		}
	}
	close(work)
	wg.Wait()
	return rows, played, errors.Join(append(errs, ctx.Err())...)
}

// try plays the scenario of one cell; column 0 is the broken server. An unexpected result is an error.
func (r *row) try(ctx context.Context, shop *variants.Workshop, root *docroot.Root, column int) (string, error) {
	var prog *process.Program
	var err error
	server, want := "the broken server", scenario.Caught
	if column == 0 {
		prog, err = shop.Broken(ctx, &r.Variant)
	} else {
		prog, err = shop.Real(ctx, column)
		server = stages.Dirs[column]
		if !r.FailsIn(column) {
			want = scenario.Free
		}
	}
	if err != nil {
		return unknown, err
	}
	tr := scenario.Play(r.Scenario, prog, root)
	if tr.Verdict != want {
		err = fmt.Errorf("%s: %s %v: %s", r.ID, server, tr.Verdict, tr.Reason)
	}
	switch tr.Verdict {
	case scenario.Free:
		return passes, err
	case scenario.Caught:
		return fails, err
	}
	return unknown, err
}

// table returns the matrix for a terminal.
func table(rows []*row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-26s %-34s %6s  %s\n", "PITFALL", "ASSERTION", "BROKEN", "STAGE 1  2  3  4")
	for _, r := range rows {
		fmt.Fprintf(&b, "%-26s %-34s %6s  %7s", r.ID, r.Assertion, r.cells[0], r.cells[1])
		for _, c := range r.cells[2:] {
			fmt.Fprintf(&b, "  %s", c)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

var stageTitles = []string{"", "Stage 1: one client at a time", "Stage 2: a pool of threads", "Stage 3: both families", "Stage 4: event loops"}

// document returns the text of docs/pitfalls.md. The text depends only on the results, so that --check can compare
// it with that of the next run.
func document(rows []*row, notes []note) string {
	var b strings.Builder
	b.WriteString(`# Pitfalls

<!-- Generated by "make matrix", which runs every scenario in these tables. Do not edit. -->

Each pitfall is a bug that is easy to write. The same scenario runs against a server with the bug
(“broken”) and against the four stages. ✓ means that the assertion holds, ✗ that it fails, and – that
the scenario does not apply to the stage. A pitfall is listed under the stage whose technique makes the
mistake possible. ` + "`make pitfall P=short-read`" + ` shows one.
`)
	stage := 0
	for _, r := range rows {
		if r.Stage != stage {
			stage = r.Stage
			fmt.Fprintf(&b, "\n## %s\n\n| pitfall | the bug | assertion | broken | 1 | 2 | 3 | 4 |\n|---|---|---|:-:|:-:|:-:|:-:|:-:|\n", stageTitles[stage])
		}
		fmt.Fprintf(&b, "| [%s](../%s/testdata/pitfalls/%s/README.md) | %s | %s |", r.ID, stages.Dirs[r.Stage], r.ID,
			strings.ReplaceAll(r.Bug, "|", "\\|"), r.Assertion)
		for _, c := range r.cells {
			fmt.Fprintf(&b, " %s |", c)
		}
		b.WriteByte('\n')
	}
	b.WriteString("\n## Go itself, and measuring\n\nNo client can see these mistakes in a server, so they have no scenario. A test shows each of them.\n\n| pitfall | what goes wrong | test |\n|---|---|---|\n")
	for _, n := range notes {
		fmt.Fprintf(&b, "| [%s](../%s/README.md) | %s | %s |\n", n.ID, n.Dir, strings.ReplaceAll(n.Bug, "|", "\\|"), n.Test)
	}
	return b.String()
}

func firstDifference(old, new string) string {
	a, b := strings.Split(old, "\n"), strings.Split(new, "\n")
	for i := range max(len(a), len(b)) {
		var l, r string
		if i < len(a) {
			l = a[i]
		}
		if i < len(b) {
			r = b[i]
		}
		if l != r {
			return fmt.Sprintf(", first in line %d:\n- %s\n+ %s", i+1, l, r)
		}
	}
	return ""
}
