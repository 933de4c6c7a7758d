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

	"fourways.example/common/servertest"
)

// Command is `lab pitfall`.
type Command struct {
	ID    string `arg:"" optional:"" help:"Which one; --list names them."`
	List  bool   `short:"l" help:"List the pitfalls."`
	Yes   bool   `short:"y" help:"Do not ask what you expect."`
	Renew bool   `help:"Make bug.patch anew for the sources as they are now."`
	Width int    `placeholder:"COLUMNS" help:"How wide to print; the terminal's width if not given."`
}

// Run shows one pitfall.
func (c *Command) Run(ctx context.Context) error {
	repo, err := servertest.FindRepo(".")
	if err != nil {
		return err
	}
	pitfalls, err := repo.Pitfalls()
	if err != nil {
		return err
	}
	if c.List || c.ID == "" {
		list(os.Stdout, pitfalls, c.width())
		return nil
	}
	i := slices.IndexFunc(pitfalls, func(p servertest.Pitfall) bool { return p.ID == c.ID })
	if i < 0 {
		return fmt.Errorf("there is no pitfall %q: lab pitfall --list names them", c.ID)
	}
	p := &pitfalls[i]
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

func list(out io.Writer, pitfalls []servertest.Pitfall, width int) {
	stage := 0
	for _, p := range pitfalls {
		if p.Stage != stage {
			stage = p.Stage
			fmt.Fprintf(out, "%s\n", servertest.StageDirs[stage])
		}
		for i, line := range wrap(p.Bug, width-28) {
			id := ""
			if i == 0 {
				id = p.ID
			}
			fmt.Fprintf(out, "  %-24s  %s\n", id, line)
		}
	}
}

// show asks, runs both servers and prints what was seen.
func (c *Command) show(ctx context.Context, repo *servertest.Repo, p *servertest.Pitfall) error {
	page := &page{out: os.Stdout, width: c.width(), colour: isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == ""}
	page.title(p)
	var expects string
	if !c.Yes && isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		var err error
		if expects, err = page.ask(os.Stdin, p); err != nil {
			return err
		}
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
	if broken.Verdict == servertest.Unskilled {
		return fmt.Errorf("%s: %s", p.ID, broken.Reason)
	}
	page.transcripts(broken, fixed)
	page.parting(broken, fixed)
	page.threads(broken, fixed)
	page.verdict(p, broken, fixed, expects)
	page.bug(repo, p)
	page.where(repo, p)
	if broken.Verdict != servertest.Caught || fixed.Verdict != servertest.Free {
		return errors.New("the two runs do not tell the servers apart as they should")
	}
	return nil
}

// run builds both servers and plays the scenario against each.
func run(ctx context.Context, repo *servertest.Repo, p *servertest.Pitfall) (broken, fixed *servertest.Transcript, err error) {
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
	root, err := servertest.NewRoot(top)
	if err != nil {
		return nil, nil, err
	}
	var progs [2]*servertest.Program
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { progs[0], errs[0] = shop.Broken(ctx, p) })
	wg.Go(func() { progs[1], errs[1] = shop.Real(ctx, p.Stage) })
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, nil, err
	}
	return servertest.Play(p.Scenario, progs[0], root), servertest.Play(p.Scenario, progs[1], root), nil
}

// renew makes a patch anew.
func renew(repo *servertest.Repo, p *servertest.Pitfall) error {
	if n, err := p.PreviousStage(); err != nil || n > 0 {
		if err == nil {
			err = fmt.Errorf("%s has no patch: %s is the bug", p.ID, servertest.StageDirs[n])
		}
		return err
	}
	old, err := p.Patch()
	if err != nil {
		return err
	}
	text, err := servertest.Renew(old, func(path string) (string, error) {
		b, err := os.ReadFile(filepath.Join(repo.Root, filepath.FromSlash(path)))
		return string(b), err
	})
	var stale *servertest.StalePatch
	if errors.As(err, &stale) {
		stale.ID = p.ID
	}
	if err != nil {
		return err
	}
	if string(text) == string(old) {
		fmt.Printf("%s: bug.patch is as good as new\n", p.ID)
		return nil
	}
	if err := os.WriteFile(filepath.Join(p.Dir, "bug.patch"), text, 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: bug.patch is renewed; see whether it still is the bug: lab pitfall %s\n", p.ID, p.ID)
	return nil
}

// ask puts the question and returns the answer: the letter of a choice, or free text.
func (g *page) ask(in io.Reader, p *servertest.Pitfall) (string, error) {
	g.paragraph("", p.Question)
	fmt.Fprintln(g.out)
	for i, choice := range p.Choices {
		g.paragraph(fmt.Sprintf("  %c  ", 'a'+i), choice)
	}
	lines := bufio.NewReader(in)
	for {
		prompt := "\nWhat do you expect to see? "
		if n := len(p.Choices); n > 0 {
			prompt = fmt.Sprintf("\nWhat do you expect? a to %c: ", 'a'+n-1)
		}
		fmt.Fprint(g.out, g.bold(prompt))
		line, err := lines.ReadString('\n')
		if err != nil {
			fmt.Fprintln(g.out)
			return "", nil // who says nothing is shown it all the same
		}
		line = strings.TrimSpace(line)
		switch {
		case len(p.Choices) == 0 || line == "":
			return line, nil
		case len(line) == 1 && int(line[0]|0x20)-'a' >= 0 && int(line[0]|0x20)-'a' < len(p.Choices):
			return strings.ToLower(line), nil
		}
	}
}
