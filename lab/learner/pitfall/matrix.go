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

// Matrix is `lab matrix`: every pitfall against its broken server and against the four stages.
type Matrix struct {
	Check bool   `help:"Compare the document with this run instead of writing it."`
	Doc   string `default:"docs/pitfalls.md" help:"The document, from the root of the repository."`
	Only  string `placeholder:"ID" help:"One pitfall alone; no document is written."`
	Lanes int    `default:"4" help:"How many servers are looked at at once."`
}

const (
	passes  = "✓"
	fails   = "✗"
	absent  = "–"
	unknown = "?"
)

// A row is a pitfall with its cells: the broken server, then stages 1 to 4.
type row struct {
	pitfalls.Pitfall
	cells [5]string
}

// Run plays everything, prints the table and writes the document.
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
		return fmt.Errorf("%s is not what this run has seen%s\nif this is as it should be: go run ./lab matrix", m.Doc, firstDifference(string(old), text))
	}
	return nil
}

// play fills the rows. The error has everything that is not as it must be.
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

// try plays one cell; column 0 is the broken server. The error says that it is not as it must be.
func (r *row) try(ctx context.Context, shop *variants.Workshop, root *docroot.Root, column int) (string, error) {
	var prog *process.Program
	var err error
	who, want := "the broken server", scenario.Caught
	if column == 0 {
		prog, err = shop.Broken(ctx, &r.Variant)
	} else {
		prog, err = shop.Real(ctx, column)
		who = stages.Dirs[column]
		if !r.FailsIn(column) {
			want = scenario.Free
		}
	}
	if err != nil {
		return unknown, err
	}
	tr := scenario.Play(r.Scenario, prog, root)
	if tr.Verdict != want {
		err = fmt.Errorf("%s: %s %v: %s", r.ID, who, tr.Verdict, tr.Reason)
	}
	switch tr.Verdict {
	case scenario.Free:
		return passes, err
	case scenario.Caught:
		return fails, err
	}
	return unknown, err
}

// table is the matrix for a terminal.
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

// document is the matrix for the book. It holds nothing that is another one in the next run.
func document(rows []*row, notes []note) string {
	var b strings.Builder
	b.WriteString(`# Pitfalls

<!-- Made by "make matrix", which runs everything that is said here. Do not edit. -->

Each of these is a bug that a reasonable person writes. A client plays the same scenario against a
server that has the bug and against the four stages: ✓ passes, ✗ fails the assertion by which the
scenario is named, – does not apply. The stage under whose heading a pitfall stands is the one that
is about it. To see one: ` + "`make pitfall P=short-read`" + `.
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
	b.WriteString("\n## Go itself, and measuring\n\nThese no client meets in a server: there is none to play. A test proves what each says.\n\n| pitfall | what goes wrong | test |\n|---|---|---|\n")
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
