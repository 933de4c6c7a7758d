package pitfall

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
)

// A page prints the question and the results of one pitfall.
type page struct {
	out       io.Writer
	width     int
	codeWidth int // the width at which code is folded; 0 does not fold
	colour    bool
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// terminalWidth returns the terminal's width, at least 40, or 80 if there is no terminal.
func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 80
	}
	return max(int(size.Col), 40)
}

func (g *page) paint(code, s string) string {
	if !g.colour || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (g *page) bold(s string) string  { return g.paint("1", s) }
func (g *page) dim(s string) string   { return g.paint("2", s) }
func (g *page) red(s string) string   { return g.paint("31", s) }
func (g *page) green(s string) string { return g.paint("32", s) }

// wrap breaks text between words into lines of at most width characters. It also breaks a word that is longer.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		for utf8.RuneCountInString(word) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			r := []rune(word)
			lines, word = append(lines, string(r[:width])), string(r[width:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// paragraph prints a text after a label. Its other lines are indented by the width of the label.
func (g *page) paragraph(label, text string) {
	n := utf8.RuneCountInString(label)
	for i, line := range wrap(text, g.width-n) {
		if i > 0 {
			label = strings.Repeat(" ", n)
		}
		fmt.Fprintln(g.out, label+line)
	}
}

func (g *page) title(p *pitfalls.Pitfall) {
	fmt.Fprintln(g.out, g.bold(p.ID))
	g.paragraph("", p.Bug)
	fmt.Fprintln(g.out)
}

const margin = 5 // columns for the number of a step

// columns prints two texts side by side.
func (g *page) columns(mark, left, right string, paintLeft, paintRight func(string) string) {
	each := (g.width - margin - 3) / 2
	a, b := wrap(left, each), wrap(right, each)
	for i := range max(len(a), len(b)) {
		l, r := "", ""
		if i < len(a) {
			l = a[i]
		}
		if i < len(b) {
			r = b[i]
		}
		if i > 0 {
			mark = ""
		}
		if r != "" {
			r = " " + paintRight(r)
		}
		fmt.Fprintf(g.out, "%s%s %s%s\n", g.bold(pad(mark, margin)), paintLeft(pad(l, each)), g.dim("│"), r)
	}
}

func (g *page) rule() {
	each := (g.width - margin - 3) / 2
	fmt.Fprintln(g.out, g.dim(strings.Repeat("─", margin+each+1)+"┼"+strings.Repeat("─", g.width-margin-each-2)))
}

func plain(s string) string { return s }

// firstDifferentStep returns the index of the first step at which the transcripts differ, or -1.
func firstDifferentStep(broken, fixed *scenario.Transcript) int {
	for i := range max(len(broken.Steps), len(fixed.Steps)) {
		switch {
		case i >= len(broken.Steps) || i >= len(fixed.Steps):
			return i
		case broken.Steps[i].Odd != fixed.Steps[i].Odd,
			broken.Steps[i].Did != fixed.Steps[i].Did, broken.Steps[i].Saw != fixed.Steps[i].Saw:
			return i
		}
	}
	return -1
}

// transcripts prints both transcripts, step by step: a line for what the client did, and below it what the client
// saw, with the bug on the left and without it on the right.
func (g *page) transcripts(broken, fixed *scenario.Transcript) {
	g.columns("", "with the bug", "without it", g.bold, g.bold)
	g.rule()
	different := firstDifferentStep(broken, fixed)
	for i := range max(len(broken.Steps), len(fixed.Steps)) {
		left, right, did, mark := "", "", "", ""
		if i < len(broken.Steps) {
			did, left = broken.Steps[i].Did, broken.Steps[i].Saw
		} else {
			left = "not reached"
		}
		if i < len(fixed.Steps) {
			did, right = fixed.Steps[i].Did, fixed.Steps[i].Saw
		} else {
			right = "not reached"
		}
		paintLeft, paintRight := plain, plain
		switch {
		case i == different:
			mark, paintLeft, paintRight = " ──▶", g.red, g.green
		case i >= len(broken.Steps):
			paintLeft = g.dim
		case i >= len(fixed.Steps):
			paintRight = g.dim
		}
		for k, line := range wrap(did, g.width-margin) {
			number := ""
			if k == 0 {
				number = fmt.Sprintf("%3d ", i+1)
			}
			fmt.Fprintln(g.out, pad(number, margin)+g.bold(line))
		}
		if left != "" || right != "" {
			g.columns(mark, left, right, paintLeft, paintRight)
		}
	}
	fmt.Fprintln(g.out)
}

// difference prints the step and the byte at which the two runs first differ.
func (g *page) difference(broken, fixed *scenario.Transcript) {
	i := firstDifferentStep(broken, fixed)
	if i < 0 {
		fmt.Fprintln(g.out, "The two runs do not differ: the clients saw the same from both servers.")
		fmt.Fprintln(g.out)
		return
	}
	where := fmt.Sprintf("The two runs differ at step %d", i+1)
	name, at, a, b := differ(broken.Streams, fixed.Streams)
	switch {
	case name == "":
		g.paragraph("", where+", but the clients received the same bytes in both.")
	case at == len(a.Bytes) && at == len(b.Bytes):
		g.paragraph("", fmt.Sprintf("%s. With the bug, %s received %d bytes; without it, %d bytes.", where, name, a.Total, b.Total))
	case at == len(a.Bytes):
		g.paragraph("", fmt.Sprintf("%s. With the bug, %s received %s. Without it, more bytes follow:", where, name, bytesSoFar(at)))
		g.bytes("without it", b.Bytes, at, g.green)
	case at == len(b.Bytes):
		g.paragraph("", fmt.Sprintf("%s. Without the bug, %s received %s. With it, more bytes follow:", where, name, bytesSoFar(at)))
		g.bytes("with the bug", a.Bytes, at, g.red)
	default:
		g.paragraph("", fmt.Sprintf("%s. The first byte that differs is byte %d of those that %s received:", where, at+1, name))
		g.bytes("with the bug", a.Bytes, at, g.red)
		g.bytes("without it", b.Bytes, at, g.green)
	}
	masked := func(s scenario.Stream) bool {
		return bytes.Contains(s.Bytes[max(0, min(at-20, len(s.Bytes))):], []byte("****"))
	}
	if name != "" && (masked(a) || masked(b)) {
		g.paragraph(strings.Repeat(" ", margin), "(▸ marks the first difference. Asterisks replace what changes from run to run.)")
	}
	fmt.Fprintln(g.out)
}

func bytesSoFar(n int) string {
	if n == 0 {
		return "not a single byte"
	}
	return fmt.Sprintf("the same %d bytes and then nothing", n)
}

// differ finds the first client that received different bytes in the two runs, and the position of the first
// different byte.
func differ(broken, fixed []scenario.Stream) (name string, at int, a, b scenario.Stream) {
	for i := range min(len(broken), len(fixed)) {
		a, b = broken[i], fixed[i]
		if a.Name != b.Name || bytes.Equal(a.Bytes, b.Bytes) && a.Total == b.Total {
			continue
		}
		for at < min(len(a.Bytes), len(b.Bytes)) && a.Bytes[at] == b.Bytes[at] {
			at++
		}
		return a.Name, at, a, b
	}
	return "", 0, a, b
}

// bytes prints some bytes before and after a position, and paints those after it.
func (g *page) bytes(label string, all []byte, at int, paint func(string) string) {
	space := g.width - margin - 16
	before := quoted(all[max(0, at-20):at])
	if at > 20 {
		before = "…" + before
	}
	if r := []rune(before); len(r) > space/2 {
		before = "…" + string(r[len(r)-space/2+1:])
	}
	after := quoted(all[at:min(len(all), at+80)])
	if r := []rune(after); len(r) > space-utf8.RuneCountInString(before)-2 {
		after = string(r[:space-utf8.RuneCountInString(before)-3]) + "…"
	}
	fmt.Fprintf(g.out, "%s%s %s%s%s\n", strings.Repeat(" ", margin), pad(label, 13), before, g.bold("▸"), paint(after))
}

func quoted(b []byte) string {
	s := fmt.Sprintf("%q", b)
	return s[1 : len(s)-1]
}

// threads prints what each server's threads were doing at the step where the runs first differ, or at the end.
func (g *page) threads(broken, fixed *scenario.Transcript) {
	step := firstDifferentStep(broken, fixed)
	left, right := threadsAt(broken, step), threadsAt(fixed, step)
	fmt.Fprintln(g.out, g.bold("What the server's threads were doing at this point"))
	g.rule()
	for i := range max(len(left), len(right)) {
		l, r := "", ""
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		g.columns("", l, r, plain, plain)
	}
	fmt.Fprintln(g.out)
}

func threadsAt(tr *scenario.Transcript, step int) []string {
	if step >= 0 && step < len(tr.Steps) && tr.Steps[step].Threads != nil {
		return tr.Steps[step].Threads
	}
	return tr.Threads
}

func (g *page) verdict(p *pitfalls.Pitfall, broken, fixed *scenario.Transcript, expects string) {
	switch {
	case len(p.Choices) == 0 && expects != "":
		g.paragraph("You expected: ", expects)
	case len(p.Choices) == 0:
	case expects == "":
		g.paragraph("The answer: ", p.Choices[p.Answer])
	case int(expects[0]-'a') == p.Answer:
		g.paragraph("You expected: ", p.Choices[p.Answer]+" — correct.")
	default:
		g.paragraph("You expected:  ", p.Choices[expects[0]-'a'])
		g.paragraph("What happened: ", p.Choices[p.Answer])
	}
	if len(p.Choices) > 0 || expects != "" {
		fmt.Fprintln(g.out)
	}
	g.paragraph("Assertion     ", p.Assertion)
	g.paragraph("with the bug  ", outcome(broken))
	g.paragraph("without it    ", outcome(fixed))
	fmt.Fprintln(g.out)
	g.paragraph("This usually means ", p.Usually+".")
	fmt.Fprintln(g.out)
}

func outcome(tr *scenario.Transcript) string {
	switch tr.Verdict {
	case scenario.Free:
		return "holds"
	case scenario.Caught:
		return "fails: " + tr.Reason
	}
	return tr.Verdict.String() + ": " + tr.Reason
}

// bug prints the patch that makes the bug, or the stage whose technique is the bug.
func (g *page) bug(repo *variants.Repo, p *pitfalls.Pitfall) {
	if n, err := p.PreviousStage(); err == nil && n > 0 {
		g.paragraph("The bug is the technique of ", stages.Dirs[n]+".")
		fmt.Fprintln(g.out)
		return
	}
	text, err := p.Patch()
	if err != nil {
		return
	}
	files, err := variants.ParsePatch(text)
	if err != nil {
		return
	}
	for _, f := range files {
		fmt.Fprintln(g.out, g.bold("The bug, in "+f.Path))
		for i, h := range f.Hunks {
			lines := h.Lines
			for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
				lines = lines[1:]
			}
			for n := len(lines); n > 0 && strings.TrimSpace(lines[n-1]) == ""; n = len(lines) {
				lines = lines[:n-1]
			}
			if i > 0 {
				fmt.Fprintln(g.out, g.dim("  ⋮"))
			}
			for _, l := range lines {
				paint := map[byte]func(string) string{'-': g.green, '+': g.red, ' ': g.dim}[l[0]]
				for _, l := range fold(strings.TrimRight(strings.ReplaceAll(l, "\t", "    "), " "), g.codeWidth-2) {
					fmt.Fprintln(g.out, "  "+paint(l))
				}
			}
		}
	}
	fmt.Fprintln(g.out)
}

// fold breaks a line of code that is longer than width, at a space if possible. The lines after the first are
// indented further, and a broken comment begins with // again. If width is 0, fold does not break the line.
func fold(line string, width int) []string {
	r := []rune(line)
	if width <= 0 || len(r) == 0 {
		return []string{line}
	}
	indent := len(r) - len([]rune(strings.TrimLeft(string(r[1:]), " "))) + 8
	var lines []string
	for len(r) > width && indent < width/2 {
		at := width
		for k := width; k > indent+width/4; k-- {
			if r[k] == ' ' {
				at = k
				break
			}
		}
		lines = append(lines, strings.TrimRight(string(r[:at]), " "))
		rest := strings.TrimLeft(string(r[at:]), " ")
		if strings.Contains(string(r[:at]), "// ") {
			rest = "// " + rest
		}
		r = []rune(strings.Repeat(" ", indent) + rest)
	}
	return append(lines, string(r))
}

func (g *page) where(repo *variants.Repo, p *pitfalls.Pitfall) {
	label := "Correct code       "
	for _, place := range p.Where {
		at, err := repo.Find(place, p.Stage)
		if err != nil {
			at = err.Error()
		}
		if place.Func != "" {
			at += "  " + place.Func
		}
		fmt.Fprintln(g.out, label+at) // not wrapped, so that a reader can copy it
		label = strings.Repeat(" ", len(label))
	}
	if dir, err := filepath.Rel(repo.Root, p.Dir); err == nil {
		fmt.Fprintln(g.out, "More about it      "+filepath.ToSlash(dir)+"/README.md")
	}
}
