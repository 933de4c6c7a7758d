package site

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"fourways.example/lab/learner/book/weave"
)

// render makes the body of a page, its title, its ids and its records.
func (b *builder) render(p *page) {
	source, err := b.text(p.source)
	if err != nil {
		b.errorf(p, "%v", err)
		return
	}
	if strings.HasPrefix(p.source, "docs/ledger/") {
		source = b.linkPitfalls(p, source)
	}
	src := []byte(source)
	r := &nodes{b: b, p: p, src: src}
	md := goldmark.New(
		goldmark.WithExtensions(extension.Table),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
		goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(r, 1))),
	)
	ids := &headingIDs{slugs: weave.Slugger{}}
	doc := md.Parser().Parse(text.NewReader(src), parser.WithContext(parser.NewContext(parser.WithIDs(ids))))
	p.ids = map[string]bool{}
	p.records = records(p, doc, src)
	var out bytes.Buffer
	if err := md.Renderer().Render(&out, src, doc); err != nil {
		b.errorf(p, "%v", err)
	}
	body := out.String()
	body = strings.NewReplacer("<table>", "<div class=\"scroll\"><table>", "</table>", "</table></div>").Replace(body)
	if strings.HasPrefix(p.source, "docs/ledger/") {
		body = sections(body)
	}
	p.body = []byte(body)
}

var pitfallName = regexp.MustCompile("pitfall `([a-z0-9-]+)`")

// linkPitfalls makes links of the pitfalls that a ledger names.
func (b *builder) linkPitfalls(p *page, source string) string {
	return pitfallName.ReplaceAllStringFunc(source, func(s string) string {
		name := pitfallName.FindStringSubmatch(s)[1]
		for _, other := range b.pages {
			if other.out == "pitfall-"+name+".html" {
				return fmt.Sprintf("pitfall [`%s`](%s)", name, weave.Relative(path.Dir(p.source), other.source))
			}
		}
		return s
	})
}

// sections puts each hunk of a ledger and its explanation into two columns.
func sections(body string) string {
	parts := strings.Split(body, "<h2 ")
	for i, s := range parts[1:] {
		head, rest, _ := strings.Cut(s, "</h2>\n")
		code, why, _ := strings.Cut(rest, "</pre>\n")
		parts[i+1] = "<section class=\"hunk\">\n<h2 " + head + "</h2>\n" + code + "</pre>\n<div class=\"why\">\n" + why + "</div>\n</section>\n"
	}
	return strings.Join(parts, "")
}

type headingIDs struct{ slugs weave.Slugger }

func (h *headingIDs) Generate(value []byte, _ ast.NodeKind) []byte {
	return []byte(h.slugs.Slug(string(value)))
}

func (h *headingIDs) Put([]byte) {}

// nodes renders the kinds of nodes that differ from goldmark's HTML.
type nodes struct {
	b   *builder
	p   *page
	src []byte
}

func (r *nodes) RegisterFuncs(reg renderer.NodeRendererFuncRegisterer) {
	reg.Register(ast.KindHeading, r.heading)
	reg.Register(ast.KindLink, r.link)
	reg.Register(ast.KindImage, r.image)
	reg.Register(ast.KindFencedCodeBlock, r.fenced)
	reg.Register(ast.KindCodeBlock, r.indented)
	reg.Register(ast.KindHTMLBlock, r.raw)
	reg.Register(ast.KindRawHTML, r.raw)
	reg.Register(ast.KindParagraph, r.paragraph)
}

func (r *nodes) heading(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	h := n.(*ast.Heading)
	if !entering {
		fmt.Fprintf(w, "</h%d>\n", h.Level)
		return ast.WalkContinue, nil
	}
	v, _ := h.AttributeString("id")
	id := fmt.Sprintf("%s", v)
	r.p.ids[id] = true
	fmt.Fprintf(w, "<h%d id=\"%s\">", h.Level, html.EscapeString(id))
	if h.Level > 1 {
		fmt.Fprintf(w, "<a class=\"anchor\" href=\"#%s\" aria-label=\"Link to this section\">#</a>", html.EscapeString(id))
	}
	return ast.WalkContinue, nil
}

// link points to another page of the book, or to the page of a source file. A folder, and a file that is large, become
// text: the server of the book does not serve them.
func (r *nodes) link(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	dest := string(n.(*ast.Link).Destination)
	href, ok := r.href(dest, entering)
	switch {
	case ok && entering:
		fmt.Fprintf(w, "<a href=\"%s\">", html.EscapeString(href))
	case ok:
		_, _ = w.WriteString("</a>")
	case entering:
		_, _ = w.WriteString("<span class=\"file\">")
	default:
		_, _ = w.WriteString("</span>")
	}
	return ast.WalkContinue, nil
}

// href returns the target of a link, and false if the book does not have it. It notes links for the check.
func (r *nodes) href(dest string, note bool) (string, bool) {
	if strings.Contains(dest, "://") || strings.HasPrefix(dest, "mailto:") {
		return dest, true
	}
	target, fragment, _ := strings.Cut(dest, "#")
	file := path.Join(path.Dir(r.p.source), target)
	if target == "" {
		file = r.p.source
	}
	if note {
		if _, err := os.Stat(filepath.Join(r.b.repo, file)); err != nil && r.b.woven[file] == "" {
			r.b.errorf(r.p, "a link to %s, which does not exist", dest)
		}
	}
	other := r.b.bySource[file]
	if other == nil {
		other = r.b.bySource[path.Join(file, "README.md")]
	}
	if other == nil {
		if below, ok := strings.CutPrefix(file, "docs/site/"); ok {
			return "../" + below, true
		}
		if other = r.b.sourcePage(file); other == nil {
			return "", false
		}
	}
	if note {
		r.p.links = append(r.p.links, link{other.out, fragment})
	}
	if fragment == "" {
		return other.out, true
	}
	if other == r.p {
		return "#" + fragment, true
	}
	return other.out + "#" + fragment, true
}

// paragraph makes a figure of a paragraph that is only a picture, and a caption of one that is all emphasised: weave
// writes the sources of code and tables so.
func (r *nodes) paragraph(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	tag, class := "p", ""
	switch {
	case n.ChildCount() == 1 && n.FirstChild().Kind() == ast.KindImage:
		tag = "figure"
	case r.emphasised(n):
		class = " class=\"source\""
	}
	if entering {
		_, _ = w.WriteString("<" + tag + class + ">")
	} else {
		_, _ = w.WriteString("</" + tag + ">\n")
	}
	return ast.WalkContinue, nil
}

// emphasised reports whether a paragraph has nothing but parts in *emphasis*. A warning in **strong** emphasis is no caption.
func (r *nodes) emphasised(n ast.Node) bool {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Emphasis:
			if c.Level > 1 {
				return false
			}
		case *ast.Text:
			if len(bytes.TrimSpace(c.Segment.Value(r.src))) > 0 {
				return false
			}
		default:
			return false
		}
	}
	return n.HasChildren()
}

// image copies the picture into the book. A picture in steps becomes a part of the page, for the script.
func (r *nodes) image(w util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	file := path.Join(path.Dir(r.p.source), string(n.(*ast.Image).Destination))
	text, err := os.ReadFile(filepath.Join(r.b.repo, file))
	if err != nil {
		r.b.errorf(r.p, "a picture: %v", err)
		return ast.WalkSkipChildren, nil
	}
	alt := html.EscapeString(plainText(n, src))
	inFigure := n.Parent().Kind() == ast.KindParagraph && n.Parent().ChildCount() == 1
	if bytes.Contains(text, []byte("data-step=")) && inFigure {
		fmt.Fprintf(w, "<div class=\"steps scroll\">%s</div><figcaption>%s</figcaption>", inlineSVG(text), alt)
		return ast.WalkSkipChildren, nil
	}
	name := "pictures/" + strings.ReplaceAll(strings.TrimPrefix(file, "docs/"), "/", "-")
	r.b.files[name] = text
	img := fmt.Sprintf("<img src=\"%s\" alt=\"%s\"%s loading=\"lazy\">", name, alt, size(text))
	if inFigure { // on a small screen the picture scrolls, so that its text can be read
		img = fmt.Sprintf("<div class=\"scroll\">%s</div><figcaption>%s</figcaption>", img, alt)
	}
	_, _ = w.WriteString(img)
	return ast.WalkSkipChildren, nil
}

var (
	viewBox = regexp.MustCompile(`<svg[^>]* viewBox="0 0 ([0-9.]+) ([0-9.]+)"`)
	prolog  = regexp.MustCompile(`(?s)^.*?(<svg )`)
)

// size returns the size of a picture, so that the page does not move when the picture arrives.
func size(svg []byte) string {
	m := viewBox.FindSubmatch(svg)
	if m == nil {
		return ""
	}
	return fmt.Sprintf(" width=\"%s\" height=\"%s\"", whole(string(m[1])), whole(string(m[2])))
}

func whole(s string) string { s, _, _ = strings.Cut(s, "."); return s }

func inlineSVG(svg []byte) string {
	return strings.TrimSpace(prolog.ReplaceAllString(string(svg), "$1"))
}

// raw drops comments, which are the directives. The book has no other HTML, so that its pages are valid.
func (r *nodes) raw(_ util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	var s string
	switch n := n.(type) {
	case *ast.HTMLBlock:
		s = string(n.Lines().Value(src))
	case *ast.RawHTML:
		s = string(n.Segments.Value(src))
	}
	if s = strings.TrimSpace(s); entering && !(strings.HasPrefix(s, "<!--") && strings.HasSuffix(s, "-->")) {
		r.b.errorf(r.p, "HTML in the Markdown: %.40q", s)
	}
	return ast.WalkSkipChildren, nil
}

// plainText returns the text of a node without its marks.
func plainText(n ast.Node, src []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(src))
			if t.SoftLineBreak() || t.HardLineBreak() {
				b.WriteByte(' ')
			}
		}
		if s, ok := n.(*ast.String); ok && entering {
			b.Write(s.Value)
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// records returns the sections of a page for the search, and sets its title.
func records(p *page, doc ast.Node, src []byte) []record {
	var all []record
	for n := doc.FirstChild(); n != nil; n = n.NextSibling() {
		if h, ok := n.(*ast.Heading); ok {
			text := plainText(h, src)
			if h.Level == 1 && p.title == "" {
				p.title = text
				all = append(all, record{Page: p.out, Title: text})
				continue
			}
			id, _ := h.AttributeString("id")
			all = append(all, record{Page: fmt.Sprintf("%s#%s", p.out, id), Title: p.title, Heading: text})
			continue
		}
		if len(all) > 0 {
			last := &all[len(all)-1]
			last.Text = strings.TrimSpace(last.Text + " " + blockText(n, src))
		}
	}
	return all
}

// blockText is the text of a block; code is part of it.
func blockText(n ast.Node, src []byte) string {
	switch n.Kind() {
	case ast.KindHTMLBlock:
		return ""
	case ast.KindFencedCodeBlock, ast.KindCodeBlock:
		return strings.Join(strings.Fields(string(n.Lines().Value(src))), " ")
	}
	if n.Type() == ast.TypeBlock && n.FirstChild() != nil && n.FirstChild().Type() == ast.TypeBlock {
		var parts []string
		for c := n.FirstChild(); c != nil; c = c.NextSibling() {
			parts = append(parts, blockText(c, src))
		}
		return strings.Join(parts, " ")
	}
	return plainText(n, src)
}
