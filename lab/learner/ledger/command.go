package ledger

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/variants"
)

// Command is `lab diff`.
type Command struct {
	From  string `arg:"" help:"A stage or step: 1, 2, 3, 4a, 4b, 4c or 4."`
	To    string `arg:"" help:"The stage or step after it."`
	Width int    `placeholder:"COLUMNS" help:"The width of the output. The default is the width of the terminal, or 80."`
}

// wide is the least width at which a hunk and its explanation stand side by side: two columns of about 70 characters.
const wide = 140

// Run prints each hunk of the difference with its explanation.
func (c *Command) Run() error {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	p, neighbours := find(c.From, c.To)
	hunks, err := p.Hunks(repo.Root)
	if err != nil {
		return err
	}
	page := &Page{}
	if neighbours {
		if page, _, err = Load(repo.Root, p); err != nil {
			return err
		}
	}
	width, colour := terminal(os.Stdout)
	if c.Width > 0 {
		width = max(c.Width, 40)
	}
	s := screen{out: os.Stdout, width: width, colour: colour}
	s.show(p, page, hunks)
	if !neighbours {
		fmt.Println("Only neighbours are explained: 1 2, 2 3, 3 4a, 4a 4b, 4b 4c, 4c 4.")
	}
	return nil
}

// terminal returns the width of a terminal and whether to use colours; 80 and no colours for a file or a pipe.
func terminal(f *os.File) (width int, colour bool) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 80, false
	}
	if size.Col == 0 {
		return 80, true
	}
	return max(int(size.Col), 40), true
}

// A screen prints hunks for a terminal.
type screen struct {
	out    io.Writer
	width  int
	colour bool
}

func (s *screen) show(p Pair, page *Page, hunks []Hunk) {
	s.line("1", p.Title())
	if page.Intro != "" {
		fmt.Fprintln(s.out)
		for paragraph := range strings.SplitSeq(page.Intro, "\n\n") {
			for _, line := range wrap(words(paragraph), min(s.width, 90)) {
				fmt.Fprintln(s.out, line)
			}
		}
	}
	entries, _ := page.Match(hunks)
	for i, h := range hunks {
		fmt.Fprintln(s.out)
		s.line("1;36", h.title(i))
		text := ""
		if entries[i] != nil {
			text = entries[i].Text
		}
		s.hunk(h, text)
	}
}

func (s *screen) hunk(h Hunk, text string) {
	column, code := min(s.width, 90), s.width
	if s.width >= wide {
		column = min((s.width-3)*2/5, 80)
		code = s.width - 3 - column
	}
	var left []string
	for _, line := range trimBlank(h.Lines) {
		left = append(left, fold(strings.ReplaceAll(line, "\t", "    "), code)...)
	}
	var right []string
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if len(right) > 0 {
			right = append(right, "")
		}
		right = append(right, wrap(words(paragraph), column)...)
	}
	if s.width < wide {
		for _, line := range left {
			s.line(colourOf(line), line)
		}
		fmt.Fprintln(s.out)
		for _, line := range right {
			fmt.Fprintln(s.out, line)
		}
		return
	}
	mark := ""
	for i := range max(len(left), len(right)) {
		l, r := "", ""
		if i < len(left) {
			l = left[i]
			mark = colourOf(l)
		}
		if i < len(right) {
			r = right[i]
		}
		pad := strings.Repeat(" ", max(code-utf8.RuneCountInString(l), 0))
		fmt.Fprintln(s.out, strings.TrimRight(s.paint(mark, l)+pad+" │ "+r, " "))
	}
}

// trimBlank drops an added or removed blank line at the end.
func trimBlank(lines []string) []string {
	if n := len(lines); n > 1 && len(lines[n-1]) == 1 {
		return lines[:n-1]
	}
	return lines
}

func colourOf(line string) string {
	switch {
	case strings.HasPrefix(line, "-"):
		return "31"
	case strings.HasPrefix(line, "+"):
		return "32"
	}
	return ""
}

func (s *screen) paint(code, text string) string {
	if !s.colour || code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) line(code, text string) { fmt.Fprintln(s.out, s.paint(code, text)) }

// fold breaks a line of code that is too long, after a space if there is one in the second half. The rest of the
// line keeps the mark of its beginning.
func fold(line string, width int) []string {
	var lines []string
	r := []rune(line)
	mark := string(r[:1])
	for len(r) > width {
		n := width
		for i := width; i > width/2; i-- {
			if r[i-1] == ' ' {
				n = i
				break
			}
		}
		lines = append(lines, string(r[:n]))
		r = append([]rune(mark+"        "), r[n:]...)
	}
	return append(lines, string(r))
}

var link = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)

// words makes plain text of a paragraph of Markdown.
func words(markdown string) string {
	return strings.NewReplacer("`", "", "**", "").Replace(link.ReplaceAllString(markdown, "$1"))
}

// wrap breaks text between words into lines of at most width characters, if no word is longer.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for w := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return append(lines, line)
}
