// Package site makes the HTML pages of the book from its Markdown. docs/book/README.md is the list of contents: the
// links of its lists are the pages, in the order in which one reads them. A source file that a page links to has a page, too.
package site

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// Contents is the page that lists all others.
	Contents = "docs/book/README.md"
	// Folder is where the pages belong, below the root of the repository.
	Folder = "docs/site/book"
	// title is the name of the book.
	title = "Four ways to wait"
)

//go:embed assets
var assets embed.FS

// A page is one HTML file.
type page struct {
	source  string // the path of the Markdown below the root of the repository
	out     string // the name of the HTML file
	title   string
	part    string // the heading in the list of contents below which the page stands
	chained bool   // it has a place between a previous and a next page
	body    []byte
	ids     map[string]bool
	records []record
	links   []link // to other pages
	code    string // of a source file: its text
}

// A link is a link to a place in a page of the book, checked when all pages are known.
type link struct{ out, fragment string }

// A record is a section of a page in the index of the search.
type record struct {
	Page    string `json:"p"` // the HTML file, and the id of the section
	Title   string `json:"t"` // of the page
	Heading string `json:"h,omitempty"`
	Text    string `json:"x"`
}

// Build returns the files of the book: their contents by their names. woven is the text of each Markdown file by
// its path; other pages are read from the repository.
func Build(repo string, woven map[string]string) (map[string][]byte, error) {
	b := &builder{repo: repo, woven: woven, bySource: map[string]*page{}, quoted: map[string]*page{}, files: map[string][]byte{}}
	if err := b.listPages(); err != nil {
		return nil, err
	}
	for _, p := range b.pages {
		b.render(p)
	}
	b.addSources()
	b.checkLinks()
	if err := errors.Join(b.errs...); err != nil {
		return nil, err
	}
	for i, p := range b.pages {
		html, err := b.frame(i, p)
		if err != nil {
			return nil, err
		}
		b.files[p.out] = html
	}
	return b.files, b.addAssets()
}

type builder struct {
	repo     string
	woven    map[string]string
	pages    []*page
	bySource map[string]*page
	quoted   map[string]*page // the pages of the source files that the others link to, by path
	files    map[string][]byte
	errs     []error
}

func (b *builder) errorf(p *page, format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("%s: %s", p.source, fmt.Sprintf(format, args...)))
}

// text returns the Markdown of a page.
func (b *builder) text(source string) (string, error) {
	if s, ok := b.woven[source]; ok {
		return s, nil
	}
	s, err := os.ReadFile(filepath.Join(b.repo, source))
	return string(s), err
}

// listPages finds the pages: the list of contents, the files that it links, and the pages of the pitfalls.
func (b *builder) listPages() error {
	text, err := b.text(Contents)
	if err != nil {
		return err
	}
	b.add(&page{source: Contents, out: "index.html", chained: true})
	part := ""
	for line := range strings.SplitSeq(text, "\n") {
		if s, ok := strings.CutPrefix(line, "## "); ok {
			part = s
		}
		if !strings.HasPrefix(line, "- [") {
			continue
		}
		for _, target := range linkTargets(line) {
			target, _, _ = strings.Cut(target, "#")
			source := path.Join(path.Dir(Contents), target)
			if strings.HasSuffix(target, ".md") && b.bySource[source] == nil {
				b.add(&page{source: source, out: outName(source), part: part, chained: true})
			}
		}
	}
	notes, err := filepath.Glob(filepath.Join(b.repo, "*", "testdata", "pitfalls", "*", "README.md"))
	if err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(b.repo, "common", "servertest", "pitfalls", "*", "testdata", "pitfalls", "*", "README.md"))
	if err != nil {
		return err
	}
	for _, note := range append(notes, more...) {
		source, err := filepath.Rel(b.repo, note)
		if err != nil {
			return err
		}
		if source = filepath.ToSlash(source); b.bySource[source] == nil {
			b.add(&page{source: source, out: outName(source)})
		}
	}
	names := map[string]string{}
	for _, p := range b.pages {
		if other := names[p.out]; other != "" {
			return fmt.Errorf("%s and %s would both be %s", other, p.source, p.out)
		}
		names[p.out] = p.source
	}
	return nil
}

func (b *builder) add(p *page) {
	b.pages = append(b.pages, p)
	b.bySource[p.source] = p
}

// linkTargets returns the targets of the links in a line of Markdown.
func linkTargets(line string) (targets []string) {
	for {
		i := strings.Index(line, "](")
		if i < 0 {
			return targets
		}
		target, rest, _ := strings.Cut(line[i+2:], ")")
		targets, line = append(targets, target), rest
	}
}

// outName is the HTML file of a Markdown file, such as ledger-1-2.html for docs/ledger/1-2.md.
func outName(source string) string {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(source, "docs/"), ".md"), "/")
	if parts[len(parts)-1] == "README" {
		parts = parts[:len(parts)-1]
	}
	last := parts[len(parts)-1]
	switch {
	case len(parts) > 1 && parts[len(parts)-2] == "pitfalls":
		return "pitfall-" + last + ".html"
	case len(parts) > 1 && parts[len(parts)-2] == "steps":
		return "step-" + last + ".html"
	case parts[0] == "book":
		return last + ".html"
	}
	return strings.Join(parts, "-") + ".html"
}

func (b *builder) checkLinks() {
	ids := map[string]map[string]bool{}
	for _, p := range b.pages {
		ids[p.out] = p.ids
	}
	for _, p := range b.pages {
		for _, l := range p.links {
			if l.fragment != "" && !ids[l.out][l.fragment] {
				b.errorf(p, "a link to %s#%s: that page has no such heading or line", l.out, l.fragment)
			}
		}
	}
}

// frameData is what the template of a page needs.
type frameData struct {
	Book, Title, Class string
	Body               template.HTML
	Parts              []part
	Prev, Next         *entry
	Home               bool
}

type part struct {
	Name  string
	Pages []entry
}

type entry struct {
	Out, Title string
	Current    bool
}

var frameTemplate = template.Must(template.ParseFS(assets, "assets/page.html"))

// frame puts the body of the i-th page between the navigation and the links to its neighbours.
func (b *builder) frame(i int, p *page) ([]byte, error) {
	d := frameData{Book: title, Title: p.title, Body: template.HTML(p.body), Home: i == 0} //nolint:gosec // made by goldmark
	if strings.HasPrefix(p.source, "docs/ledger/") {
		d.Class = "ledger"
	}
	current := p
	if p.code != "" {
		current, d.Class = nil, "code"
	} else if !p.chained { // a pitfall belongs to the list of pitfalls
		if list := b.bySource["docs/pitfalls.md"]; list != nil {
			current = list
			d.Prev = &entry{Out: list.out, Title: list.title}
		}
	}
	for j, other := range b.pages {
		if !other.chained || j == 0 {
			continue
		}
		if len(d.Parts) == 0 || d.Parts[len(d.Parts)-1].Name != other.part {
			d.Parts = append(d.Parts, part{Name: other.part})
		}
		last := &d.Parts[len(d.Parts)-1]
		last.Pages = append(last.Pages, entry{other.out, other.title, other == current})
	}
	if p.chained {
		if i > 0 {
			d.Prev = &entry{Out: b.pages[i-1].out, Title: b.pages[i-1].title}
		}
		if i+1 < len(b.pages) && b.pages[i+1].chained {
			d.Next = &entry{Out: b.pages[i+1].out, Title: b.pages[i+1].title}
		}
	}
	var out bytes.Buffer
	if err := frameTemplate.Execute(&out, d); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// addAssets adds the style sheet, the script and the index of the search. The index is a script, because a page
// from file:// may not fetch JSON.
func (b *builder) addAssets() error {
	for _, name := range []string{"book.css", "book.js"} {
		text, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return err
		}
		b.files[name] = text
	}
	var index bytes.Buffer
	index.WriteString("window.bookIndex = [\n")
	var records []record
	for _, p := range b.pages {
		records = append(records, p.records...)
	}
	slices.SortStableFunc(records, func(x, y record) int { return cmp.Compare(order(x), order(y)) })
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		index.Write(line)
		index.WriteString(",\n")
	}
	index.WriteString("];\n")
	b.files["index.js"] = index.Bytes()
	return nil
}

// order puts the chapters of the book before the pages that are looked up.
func order(r record) int {
	if strings.HasPrefix(r.Page, "pitfall-") || strings.HasPrefix(r.Page, "spec.") || strings.HasPrefix(r.Page, "ledger-") {
		return 1
	}
	return 0
}
