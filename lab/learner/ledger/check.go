package ledger

import (
	"fmt"
	"regexp"
	"strings"
)

// Check returns what is wrong with the ledger of a pair, one sentence for each problem. Names tells which pitfalls,
// cases, claims and tests exist.
func Check(repo string, p Pair, names Names) ([]string, error) {
	hunks, err := p.Hunks(repo)
	if err != nil {
		return nil, err
	}
	page, text, err := Load(repo, p)
	if err != nil {
		return nil, err
	}
	bad := problems(page, hunks, names)
	if len(bad) == 0 && page.Render(p, hunks) != text {
		bad = append(bad, "the file is not as `make book` writes it: run make book")
	}
	for i := range bad {
		bad[i] = p.File() + ": " + bad[i]
	}
	return bad, nil
}

func problems(page *Page, hunks []Hunk, names Names) (bad []string) {
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	entries, left := page.Match(hunks)
	for i, h := range hunks {
		if h.onlyFormatting() {
			say("hunk %s is only formatting: make both files the same there, or join it with a real change", h.describe(i))
		}
		if entries[i] == nil {
			say("hunk %s has no entry: run make book, then explain the hunk%s", h.describe(i), candidates(left))
			continue
		}
		for _, s := range entries[i].problems(h, names) {
			say("entry %s %s", h.describe(i), s)
		}
	}
	for _, e := range left {
		say("entry %q (%s) has no hunk: move its text to the entry of the changed hunk, or remove it", e.Title, e.Key)
	}
	return bad
}

func (h *Hunk) describe(i int) string { return fmt.Sprintf("%q (%s)", h.title(i), h.Key) }

// candidates names the entries that have lost their hunk, because one of them probably belongs to the changed hunk.
func candidates(left []*Entry) string {
	var titles []string
	for _, e := range left {
		titles = append(titles, fmt.Sprintf("%q", e.Title))
	}
	if len(titles) == 0 {
		return ""
	}
	return "; entries without a hunk, to mend: " + strings.Join(titles, ", ")
}

// onlyFormatting reports whether the two sides differ in nothing but white space and the ends of comment lines.
func (h *Hunk) onlyFormatting() bool {
	return plain(h.side('+')) == plain(h.side('-'))
}

func plain(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		for field := range strings.FieldsSeq(line) {
			if field != "//" {
				b.WriteString(field)
			}
		}
	}
	return b.String()
}

// onlyWords reports whether the hunk changes only comments, imports and blank lines, which no test needs.
func (h *Hunk) onlyWords() bool {
	for _, line := range h.Lines {
		s := strings.TrimSpace(line[1:])
		if line[0] != ' ' && s != "" && !strings.HasPrefix(s, "//") && !importLine.MatchString(s) {
			return false
		}
	}
	return true
}

var (
	importLine = regexp.MustCompile(`^"[\w./-]+"$`)
	reference  = regexp.MustCompile("(pitfall|case|claim|test) \\[?`([^`]+)`")
	neededBy   = regexp.MustCompile(`(?m)^Needed by: (.|\n)+?(\n\n|\z)`)
)

func (e *Entry) problems(h Hunk, names Names) (bad []string) {
	text := neededBy.ReplaceAllString(e.Text, "")
	if strings.TrimSpace(text) == "" || strings.Contains(e.Text, "TODO") {
		return []string{"does not explain its hunk yet"}
	}
	refs := reference.FindAllStringSubmatch(e.Text, -1)
	for _, r := range refs {
		if !names.Has(r[1], r[2]) {
			bad = append(bad, fmt.Sprintf("names the %s %q, which does not exist", r[1], r[2]))
		}
	}
	if len(reference.FindAllString(neededBy.FindString(e.Text), -1)) == 0 && !h.onlyWords() {
		bad = append(bad, "has no paragraph `Needed by: …` with a pitfall, case, claim or test that needs the hunk")
	}
	return bad
}
