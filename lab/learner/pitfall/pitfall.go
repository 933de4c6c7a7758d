// Package pitfall shows a reader the pitfalls of the catalogue: a server that has the bug and one
// that has not, side by side.
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
	ID    string `arg:"" optional:"" help:"Which one; --list names them."`
	List  bool   `short:"l" help:"List the pitfalls."`
	Yes   bool   `short:"y" help:"Do not ask what you expect."`
	Renew bool   `help:"Make bug.patch anew for the sources as they are now."`
	Width int    `placeholder:"COLUMNS" help:"How wide to print; if not given, the terminal's width, but not more than 100."`
}

// Run shows one pitfall.
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
		fmt.Fprintln(out, "to read: no server is played")
	}
	for _, n := range notes {
		one(n.ID, n.Bug)
	}
}

// show asks, runs both servers and prints what was seen.
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
		fmt.Fprint(os.Stderr, "\n", page.dim("building both servers, running them …"))
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
	page.parting(broken, fixed)
	page.threads(broken, fixed)
	page.verdict(p, broken, fixed, expects)
	page.bug(repo, p)
	page.where(repo, p)
	if broken.Verdict != scenario.Caught || fixed.Verdict != scenario.Free {
		return errors.New("the two runs do not tell the servers apart as they should")
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

// ask lets the reader choose, and returns the answer: the letter of a choice, or free text; "" is no answer.
func (g *page) ask(ctx context.Context, in io.Reader, p *pitfalls.Pitfall) (string, error) {
	for i, choice := range p.Choices {
		g.paragraph(fmt.Sprintf("  %c  ", 'a'+i), choice)
	}
	prompt := "What do you expect to see? (Enter alone shows it) "
	if n := len(p.Choices); n > 0 {
		prompt = fmt.Sprintf("What do you expect? (a to %c; Enter alone shows it) ", 'a'+n-1)
	}
	lines := make(chan string)
	go func() { // a read of a terminal cannot be called off: it is left behind
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
				fmt.Fprintln(g.out) // who says nothing is shown it all the same
			}
			if len(p.Choices) == 0 || line == "" {
				return line, nil
			}
			if letter := chosen(line, p.Choices); letter != "" {
				return letter, nil
			}
			fmt.Fprintf(g.out, "%q is none of them; a letter, a to %c. Ctrl-C ends this. ", line, 'a'+len(p.Choices)-1)
		}
	}
}

// chosen is the letter of the choice that an answer means: "b", "B)", or the words of the choice. It is "" if the
// answer means none.
func chosen(answer string, choices []string) string {
	answer = strings.ToLower(strings.Trim(answer, " ().:"))
	for i, choice := range choices {
		if letter := string(rune('a' + i)); answer == letter || answer == strings.ToLower(choice) {
			return letter
		}
	}
	return ""
}

// unknownID is the error for a name that no pitfall has: it says which ones look like it.
func unknownID(repo *variants.Repo, id string, all []pitfalls.Pitfall) error {
	read, err := notes(repo)
	if err != nil {
		return err
	}
	for _, n := range read {
		if n.ID == id {
			dir, pkg := n.module()
			return fmt.Errorf("%s is not about a server, so there is none to play: read %s/README.md; `cd %s && go test -v -run %s %s` proves it",
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
	var like []string
	for _, p := range all {
		a, b := letters(p.ID), letters(id)
		if b != "" && (strings.Contains(a, b) || strings.Contains(b, a)) || levenshtein.ComputeDistance(a, b) <= 2 {
			like = append(like, p.ID)
		}
	}
	if len(like) > 0 {
		return fmt.Errorf("there is no pitfall %q; did you mean %s?", id, strings.Join(like, " or "))
	}
	return fmt.Errorf("there is no pitfall %q; `make pitfall` (or `lab pitfall --list`) names them all", id)
}
