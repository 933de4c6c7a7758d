// Package weave fills the directives of the book's Markdown from the sources. A directive is a pair of comments:
//
//	<!-- code stage1-iterative/server.go serve -->
//	…
//	<!-- /code -->
//
// What stands between the two is written by this package, so that the Markdown is complete where somebody browses
// the sources, and a comparison shows whether it is still what the sources say. The directives are:
//
//	code PATH NAME                      a declaration (Func, Type.Method, a type, a constant) or a tagged region
//	code PATH (NAME)                    the whole group of constants, variables or types that has NAME
//	figure PATH | CAPTION               a picture
//	figure PATH#HEADING | rows: A, B | columns: C, D
//	                                    the first table below a heading; rows are named by their first column
//	run | server: 1 | needs: strace     a console block, which is written by hand: Run compares it with a real run
//
// A tagged region lies between the lines "// !+NAME" and "// !-NAME" of a file.
package weave

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

var (
	opening = regexp.MustCompile(`^<!-- (code|figure|run)\b(.*) -->$`)
	fence   = regexp.MustCompile("^(```+|~~~+)")
)

// A Directive is what a person writes, and where.
type Directive struct {
	Kind    string
	Subject string            // the words before the first " | "
	Caption string            // the part that has no key
	Options map[string]string // the parts of the form "key: value"
	Line    int               // from 1
	Body    []string          // the lines between the two comments
}

// Page is a Markdown file of the book.
type Page struct {
	Path string // below the root of the repository
	Text string
}

// Parse returns the directives of a page. A directive inside a fenced block is text.
func (p Page) Parse() ([]Directive, error) {
	var all []Directive
	open := -1 // the index of the directive that has not ended yet
	fenced := ""
	for i, line := range strings.Split(p.Text, "\n") {
		if m := fence.FindString(line); m != "" && open < 0 {
			switch {
			case fenced == "":
				fenced = m
			case strings.HasPrefix(line, fenced) && strings.Trim(line, fenced[:1]) == "":
				fenced = ""
			}
		}
		if fenced != "" {
			continue
		}
		m := opening.FindStringSubmatch(line)
		switch {
		case open >= 0 && line == "<!-- /"+all[open].Kind+" -->":
			open = -1
		case open >= 0 && m != nil:
			return nil, fmt.Errorf("%s:%d: a directive inside that of line %d, which needs a line <!-- /%s -->", p.Path, i+1, all[open].Line, all[open].Kind)
		case open >= 0:
			all[open].Body = append(all[open].Body, line)
		case m != nil:
			open = len(all)
			d := parseOptions(m[1], m[2])
			d.Line = i + 1
			all = append(all, d)
		case strings.HasPrefix(line, "<!-- /"):
			return nil, fmt.Errorf("%s:%d: %s ends nothing", p.Path, i+1, line)
		}
	}
	if open >= 0 {
		return nil, fmt.Errorf("%s:%d: no line <!-- /%s --> ends this directive", p.Path, all[open].Line, all[open].Kind)
	}
	return all, nil
}

var key = regexp.MustCompile(`^(\w+): (.*)$`)

func parseOptions(kind, rest string) Directive {
	d := Directive{Kind: kind, Options: map[string]string{}}
	for i, part := range strings.Split(rest, " | ") {
		part = strings.TrimSpace(part)
		if m := key.FindStringSubmatch(part); m != nil {
			d.Options[m[1]] = m[2]
		} else if i == 0 {
			d.Subject = part
		} else {
			d.Caption = part
		}
	}
	return d
}

// Weave returns the page with every directive filled.
func (p Page) Weave(repo string) (string, error) {
	directives, err := p.Parse()
	if err != nil {
		return "", err
	}
	lines := strings.Split(p.Text, "\n")
	var out []string
	at := 0 // the first line that is not in out yet
	for _, d := range directives {
		body, err := p.expand(repo, d)
		if err != nil {
			return "", fmt.Errorf("%s:%d: %w", p.Path, d.Line, err)
		}
		out = append(out, lines[at:d.Line]...)
		out = append(out, body...)
		at = d.Line + len(d.Body)
	}
	return strings.Join(append(out, lines[at:]...), "\n"), nil
}

func (p Page) expand(repo string, d Directive) ([]string, error) {
	switch d.Kind {
	case "code":
		return p.code(repo, d)
	case "figure":
		return p.figure(repo, d)
	}
	if _, err := d.Commands(); err != nil {
		return nil, err
	}
	return d.Body, nil
}

// relative is the path of a file of the repository as a link from this page.
func (p Page) relative(target string) string { return Relative(path.Dir(p.Path), target) }

// Relative returns the path of target seen from a folder. Both are below the root of the repository.
func Relative(from, target string) string {
	if from == "." {
		return target
	}
	a, b := strings.Split(from, "/"), strings.Split(target, "/")
	for len(a) > 0 && len(b) > 1 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	return strings.Repeat("../", len(a)) + strings.Join(b, "/")
}
