// Package pitfall shows the pitfalls of the catalogue: it runs a server with the bug and one without it, and prints
// what a client sees of both, side by side.
package pitfall

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/agnivade/levenshtein"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
)

// Command is `lab pitfall`.
type Command struct {
	ID    string `arg:"" optional:"" help:"The pitfall to show; without it, the list is printed."`
	List  bool   `short:"l" help:"List the pitfalls."`
	Yes   bool   `short:"y" help:"Do not ask for your expectation first."`
	Renew bool   `help:"Make bug.patch anew for the sources as they are now."`
	Width int    `placeholder:"COLUMNS" help:"The width of the output. The default is the width of the terminal, but at most 100."`
}

// Run shows one pitfall, or lists all.
func (c *Command) Run(ctx context.Context) error {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	all, err := pitfalls.All(repo)
	if err != nil {
		return err
	}
	if c.List || c.ID == "" {
		notes, err := notes(repo)
		list(os.Stdout, all, notes, c.width())
		return err
	}
	i := slices.IndexFunc(all, func(p pitfalls.Pitfall) bool { return p.ID == c.ID })
	if i < 0 {
		return unknownID(repo, c.ID, all)
	}
	p := &all[i]
	if c.Renew {
		return renew(repo, p)
	}
	return c.show(ctx, repo, p)
}

func (c *Command) width() int {
	if c.Width > 0 {
		return max(c.Width, 40)
	}
	return min(terminalWidth(os.Stdout), 100)
}

func list(out io.Writer, all []pitfalls.Pitfall, notes []note, width int) {
	column := 0
	for _, p := range all {
		column = max(column, len(p.ID))
	}
	for _, n := range notes {
		column = max(column, len(n.ID))
	}
	one := func(id, bug string) {
		for _, line := range wrap(bug, width-column-4) {
			fmt.Fprintf(out, "  %-*s  %s\n", column, id, line)
			id = ""
		}
	}
	stage := 0
	for _, p := range all {
		if p.Stage != stage {
			stage = p.Stage
			fmt.Fprintf(out, "%s\n", stages.Dirs[stage])
		}
		one(p.ID, p.Bug)
	}
	if len(notes) > 0 {
		fmt.Fprintln(out, "without a scenario, only to read")
	}
	for _, n := range notes {
		one(n.ID, n.Bug)
	}
}

// show asks the reader for an expectation, runs both servers, and prints the results.
func (c *Command) show(ctx context.Context, repo *variants.Repo, p *pitfalls.Pitfall) error {
	page := &page{out: os.Stdout, width: c.width(), colour: isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == ""}
	if isTerminal(os.Stdout) {
		page.codeWidth = terminalWidth(os.Stdout)
	}
	page.title(p)
	page.paragraph("", p.Question)
	fmt.Fprintln(page.out)
	var expects string
	if !c.Yes && isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		var err error
		if expects, err = page.ask(ctx, os.Stdin, p); err != nil {
			return err
		}
		fmt.Fprintln(page.out)
	}
	if page.colour {
		fmt.Fprint(os.Stderr, page.dim("building and running both servers …"))
	}
	broken, fixed, err := run(ctx, repo, p)
	if page.colour {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
	if err != nil {
		return err
	}
	if broken.Verdict == scenario.Unskilled {
		return fmt.Errorf("%s: %s", p.ID, broken.Reason)
	}
	page.transcripts(broken, fixed)
	page.difference(broken, fixed)
	page.threads(broken, fixed)
	page.verdict(p, broken, fixed, expects)
	page.bug(repo, p)
	page.where(repo, p)
	if broken.Verdict != scenario.Caught || fixed.Verdict != scenario.Free {
		return errors.New("the results are not as expected: the assertion should fail with the bug and hold without it")
	}
	return nil
}

// run builds both servers and plays the scenario against each.
func run(ctx context.Context, repo *variants.Repo, p *pitfalls.Pitfall) (broken, fixed *scenario.Transcript, err error) {
	shop, err := repo.NewWorkshop()
	if err != nil {
		return nil, nil, err
	}
	defer shop.Close()
	top, err := os.MkdirTemp("", "pitfall-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = os.RemoveAll(top) }()
	root, err := docroot.New(top)
	if err != nil {
		return nil, nil, err
	}
	var progs [2]*process.Program
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { progs[0], errs[0] = shop.Broken(ctx, &p.Variant) })
	wg.Go(func() { progs[1], errs[1] = shop.Real(ctx, p.Stage) })
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, nil, err
	}
	return scenario.Play(p.Scenario, progs[0], root), scenario.Play(p.Scenario, progs[1], root), nil
}

// renew rewrites bug.patch for the sources as they are now.
func renew(repo *variants.Repo, p *pitfalls.Pitfall) error {
	if n, err := p.PreviousStage(); err != nil || n > 0 {
		if err == nil {
			err = fmt.Errorf("%s has no patch: the bug is the technique of %s", p.ID, stages.Dirs[n])
		}
		return err
	}
	old, err := p.Patch()
	if err != nil {
		return err
	}
	text, err := variants.Renew(old, os.DirFS(repo.Root))
	var stale *variants.StalePatch
	if errors.As(err, &stale) {
		stale.ID = p.ID
	}
	if err != nil {
		return err
	}
	if string(text) == string(old) {
		fmt.Printf("%s: bug.patch fits the sources already\n", p.ID)
		return nil
	}
	if err := os.WriteFile(filepath.Join(p.Dir, "bug.patch"), text, 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: bug.patch is renewed. Check that the patched server still has the bug: lab pitfall %s\n", p.ID, p.ID)
	return nil
}

// ask asks the reader what to expect. It returns the letter of a choice, or the text if there are no choices, or ""
// for no answer.
func (g *page) ask(ctx context.Context, in io.Reader, p *pitfalls.Pitfall) (string, error) {
	for i, choice := range p.Choices {
		g.paragraph(fmt.Sprintf("  %c  ", 'a'+i), choice)
	}
	prompt := "What do you expect to see? (Press Enter to skip the question.) "
	if n := len(p.Choices); n > 0 {
		prompt = fmt.Sprintf("What do you expect? (a to %c, or Enter to skip the question) ", 'a'+n-1)
	}
	lines := make(chan string)
	go func() { // a read from a terminal cannot be cancelled: after Ctrl-C this goroutine stays
		defer close(lines)
		for r := bufio.NewReader(in); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			lines <- strings.TrimSpace(line)
		}
	}()
	fmt.Fprint(g.out, "\n", g.bold(prompt))
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(g.out)
			return "", ctx.Err()
		case line, more := <-lines:
			if !more {
				fmt.Fprintln(g.out) // the end of the input counts as no answer
			}
			if len(p.Choices) == 0 || line == "" {
				return line, nil
			}
			if letter := chosen(line, p.Choices); letter != "" {
				return letter, nil
			}
			fmt.Fprintf(g.out, "%q is not one of the choices. Type a letter, a to %c, or press Ctrl-C to quit. ", line, 'a'+len(p.Choices)-1)
		}
	}
}

// chosen returns the letter of the choice that the answer names, as in "b" or "B)", or by its full text. It returns
// "" if the answer names no choice.
func chosen(answer string, choices []string) string {
	answer = strings.ToLower(strings.Trim(answer, " ().:"))
	for i, choice := range choices {
		if letter := string(rune('a' + i)); answer == letter || answer == strings.ToLower(choice) {
			return letter
		}
	}
	return ""
}

// unknownID returns an error for an ID without a scenario. It points to the page of a note, or suggests similar IDs.
func unknownID(repo *variants.Repo, id string, all []pitfalls.Pitfall) error {
	toRead, err := notes(repo)
	if err != nil {
		return err
	}
	for _, n := range toRead {
		if n.ID == id {
			dir, pkg := n.module()
			return fmt.Errorf("%s has no scenario to run: read %s/README.md; `cd %s && go test -v -run %s %s` shows it",
				id, n.Dir, dir, n.Test, pkg)
		}
	}
	letters := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) {
				return unicode.ToLower(r)
			}
			return -1
		}, s)
	}
	var similar []string
	for _, p := range all {
		a, b := letters(p.ID), letters(id)
		if b != "" && (strings.Contains(a, b) || strings.Contains(b, a)) || levenshtein.ComputeDistance(a, b) <= 2 {
			similar = append(similar, p.ID)
		}
	}
	if len(similar) > 0 {
		return fmt.Errorf("there is no pitfall %q; did you mean %s?", id, strings.Join(similar, " or "))
	}
	return fmt.Errorf("there is no pitfall %q; `make pitfall` lists all of them", id)
}
