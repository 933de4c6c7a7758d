package grade

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// ladderWidth and ladderLines are the size of the first screen: it fits into a terminal of 80 × 24 with the command
// above it, and the error and the prompt below.
const ladderWidth, ladderLines = 79, 19

// A ladder is a run that stops at the first milestone that fails.
type ladder struct {
	report  *Report
	program string
	rungs   []*rung
	failed  *rung  // nil if all milestones are passed
	again   string // the command, without the selection of cases
	seed    uint64
}

// climb plays the milestones in order, those that are joined together, until one fails. play runs the cases for which
// its argument returns true.
func (l *ladder) climb(ctx context.Context, play play) error {
	for from := 0; from < len(l.rungs); {
		to := from + 1
		for to < len(l.rungs) && l.rungs[to].joined {
			to++
		}
		in := map[string]bool{}
		for _, g := range l.rungs[from:to] {
			for _, e := range g.entries {
				in[e.Name] = true
			}
		}
		if err := play(func(name string) bool { return in[name] }); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", ctx.Err())
		}
		for _, g := range l.rungs[from:to] {
			for _, e := range g.entries {
				if e.Outcome == "" {
					e.Outcome, e.Log = untried, "not tried"
				}
			}
			if first, _ := g.failure(); first != nil {
				l.failed = g
				return nil
			}
		}
		from = to
	}
	return nil
}

// print writes the first screen.
func (l *ladder) print(out io.Writer) error {
	p := &printer{out: out}
	for _, line := range l.screen() {
		p.printf("%s\n", line)
	}
	return p.err
}

func (l *ladder) screen() []string {
	r := l.report
	passed := len(l.rungs)
	if l.failed != nil {
		passed = l.failed.number - 1
	}
	head := fmt.Sprintf("%d of %d milestones: %s, graded as stage %d", passed, len(l.rungs), l.program, r.Stage)
	lines := []string{shorten(head, ladderWidth)}
	if l.failed == nil {
		lines = append(lines, l.passed(passed)...)
		return append(lines, "", "All milestones are passed. --all gives the points of each category.")
	}
	first, n := l.failed.failure()
	body := []string{fmt.Sprintf("FAIL %2d  %s", l.failed.number, l.failed.title), ""}
	body = append(body, wrapped(l.failed.says, 0)...)
	body = append(body, l.show(first)...)
	body = append(body, l.cause(first)...)
	next := l.next(first, n)
	room := ladderLines - len(lines) - len(next) - 1
	above := l.passed(passed)
	if len(body)+len(above) > room && len(above) > 1 {
		above = []string{l.upTo(passed)}
	}
	if most := room - len(above); len(body) > most {
		body = append(body[:most-1], shorten(body[most-1], ladderWidth-2)+" …")
	}
	lines = append(append(lines, above...), body...)
	return append(append(lines, ""), next...)
}

// passed lists the milestones that are passed: the last one, and the others in a line before it.
func (l *ladder) passed(n int) []string {
	line := func(g *rung) string { return fmt.Sprintf("ok   %2d  %s", g.number, g.title) }
	switch {
	case n == 0:
		return nil
	case n <= 2:
		var lines []string
		for _, g := range l.rungs[:n] {
			lines = append(lines, line(g))
		}
		return lines
	}
	return []string{l.upTo(n - 1), line(l.rungs[n-1])}
}

// upTo has the first n milestones in a line.
func (l *ladder) upTo(n int) string {
	numbers := fmt.Sprintf("1-%d", n)
	return shorten(fmt.Sprintf("ok %5s  %s … %s", numbers, l.rungs[0].title, l.rungs[n-1].title), ladderWidth)
}

// show describes the exchange that failed.
func (l *ladder) show(e *entry) []string {
	if e.Log == hopelessLog {
		return nil
	}
	if e.Outcome == untried {
		return wrapped("not tried: "+strings.TrimPrefix(e.Log, "not tried: "), 0)
	}
	var lines []string
	x := exchangeOf(e)
	for _, part := range []struct{ label, text string }{{"sent", x.sent}, {"step", x.step}, {"expected", x.expected}, {"seen", x.seen}} {
		if part.text == "" {
			continue
		}
		w := wrapped(shorten(part.text, 3*(ladderWidth-10)-10), 10)
		w[0] = fmt.Sprintf("%-10s", part.label) + strings.TrimLeft(w[0], " ")
		lines = append(lines, w...)
	}
	return lines
}

// cause is what the failure usually means. What is wrong with the program as a whole goes first.
func (l *ladder) cause(e *entry) []string {
	for _, f := range l.report.diagnosis {
		if strings.HasPrefix(f, "It answers ") || e.Outcome == untried {
			return l.finding(f)
		}
	}
	if e.Hint == "" {
		return nil
	}
	return append([]string{""}, wrapped(usually(e.Hint), 0)...)
}

// finding wraps a finding, but not the lines of the program's output in it.
func (l *ladder) finding(text string) []string {
	lines := []string{""}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "|") {
			lines = append(lines, "  "+shorten(line, ladderWidth-2))
			continue
		}
		lines = append(lines, wrapped(line, 0)...)
	}
	return lines
}

// next says what to do.
func (l *ladder) next(e *entry, n int) []string {
	more := ""
	if n > 1 {
		more = fmt.Sprintf(" (%d of its %d cases fail)", n, len(l.failed.entries))
	}
	lines := []string{shorten("next: "+l.failed.title+more+". This case alone, in full:", ladderWidth)}
	command, seed := fmt.Sprintf("  %s -t %s", l.again, e.Name), fmt.Sprintf("--seed %d", l.seed)
	if len(command)+1+len(seed) > ladderWidth {
		return append(lines, command+" \\", "    "+seed)
	}
	return append(lines, command+" "+seed)
}

// wrapped breaks text into lines that begin with some spaces.
func wrapped(text string, indent int) []string {
	var lines []string
	for line := range strings.SplitSeq(wrap(text, ladderWidth-indent), "\n") {
		lines = append(lines, strings.Repeat(" ", indent)+line)
	}
	return lines
}

// shorten cuts text after n characters.
func shorten(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}
