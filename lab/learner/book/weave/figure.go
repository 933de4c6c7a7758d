package weave

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// figure returns a picture as Markdown, or a table of another page.
func (p Page) figure(repo string, d Directive) ([]string, error) {
	file, heading, isTable := strings.Cut(d.Subject, "#")
	text, err := os.ReadFile(filepath.Join(repo, file))
	if err != nil {
		return nil, fmt.Errorf("figure %s: %w", d.Subject, err)
	}
	if !isTable {
		if d.Caption == "" {
			return nil, fmt.Errorf("figure %s: a picture needs a caption, for readers who do not see it: figure %s | CAPTION", file, file)
		}
		return []string{fmt.Sprintf("![%s](%s)", d.Caption, p.relative(file))}, nil
	}
	table := tableBelow(string(text), heading)
	if table == nil {
		return nil, fmt.Errorf("figure %s: no heading %q with a table below it", d.Subject, heading)
	}
	if table, err = choose(table, list(d.Options["rows"]), list(d.Options["columns"])); err != nil {
		return nil, fmt.Errorf("figure %s: %w", d.Subject, err)
	}
	var out []string
	for _, row := range table {
		for i := range row {
			row[i] = retarget(row[i], filepath.ToSlash(filepath.Dir(file)), p)
		}
		out = append(out, "| "+strings.Join(row, " | ")+" |")
	}
	from := fmt.Sprintf("*from [%s](%s#%s)*", file, p.relative(file), heading)
	if strings.Contains(string(text), busyNote) {
		from += " *(The machine was busy during this run: the numbers are no evidence. Look at which columns differ, and why.)*"
	}
	return append(out, "", from), nil
}

// busyNote begins the warning that `lab bench` writes into its page if other programs ran during the measurement.
const busyNote = "**The machine was busy"

func list(s string) []string {
	if s == "" {
		return nil
	}
	if strings.Contains(s, "; ") { // for names with commas
		return strings.Split(s, "; ")
	}
	return strings.Split(s, ", ")
}

// tableBelow returns the cells of the first table in the section of a heading.
func tableBelow(text, heading string) (table [][]string) {
	slugs := Slugger{}
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		if title, ok := Heading(line); ok {
			if inside {
				return table
			}
			inside = slugs.Slug(title) == heading
			continue
		}
		switch {
		case inside && strings.HasPrefix(line, "|"):
			table = append(table, cells(line))
		case table != nil:
			return table
		}
	}
	return table
}

// Heading returns the title if a line is a heading of Markdown, of any level.
func Heading(line string) (title string, ok bool) {
	rest := strings.TrimLeft(line, "#")
	return strings.TrimSpace(rest), rest != line && strings.HasPrefix(rest, " ") && len(line)-len(rest) <= 6
}

func cells(line string) []string {
	var out []string
	for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
		out = append(out, strings.TrimSpace(cell))
	}
	return out
}

// choose keeps the rows and columns of these names, in the order of the names; nil keeps all.
func choose(table [][]string, rows, columns []string) ([][]string, error) {
	out := table[:2:2]
	for _, name := range rows {
		i := slices.IndexFunc(table[2:], func(row []string) bool { return plain(row[0]) == name })
		if i < 0 {
			return nil, fmt.Errorf("the table has no row %q", name)
		}
		out = append(out, table[2+i])
	}
	if rows == nil {
		out = table
	}
	if columns == nil {
		return out, nil
	}
	var at []int
	for _, name := range columns {
		i := slices.IndexFunc(table[0], func(cell string) bool { return plain(cell) == name })
		if i < 0 {
			return nil, fmt.Errorf("the table has no column %q", name)
		}
		at = append(at, i)
	}
	var cut [][]string
	for _, row := range out {
		var r []string
		for _, i := range at {
			r = append(r, row[i])
		}
		cut = append(cut, r)
	}
	return cut, nil
}

// plain is the text of a cell: that of its link if it is one.
func plain(cell string) string {
	if s, ok := strings.CutPrefix(cell, "["); ok {
		cell, _, _ = strings.Cut(s, "]")
	}
	return strings.Trim(cell, "`")
}

// retarget rewrites the relative links of a cell that comes from a page in another folder.
func retarget(cell, from string, p Page) string {
	var b strings.Builder
	for {
		i := strings.Index(cell, "](")
		if i < 0 {
			return b.String() + cell
		}
		target, rest, ok := strings.Cut(cell[i+2:], ")")
		if !ok {
			return b.String() + cell
		}
		if !strings.Contains(target, ":") {
			target = p.relative(filepath.ToSlash(filepath.Join(from, target)))
		}
		b.WriteString(cell[:i+2] + target + ")")
		cell = rest
	}
}

// A Slugger makes the ids of the headings of one page, in the order of the headings, as the usual browsers of
// sources do.
type Slugger map[string]int

// Slug returns the id of the next heading.
func (s Slugger) Slug(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	id := b.String()
	n := s[id]
	s[id]++
	if n > 0 {
		return fmt.Sprintf("%s-%d", id, n)
	}
	return id
}
