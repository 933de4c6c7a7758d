package site

import (
	"fmt"
	"html"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/chroma/v2"
	"github.com/alecthomas/chroma/v2/lexers"
)

// largest is the size of the largest source file that gets a page, in bytes. The files of this repository have at most
// about 300 lines; what is larger, such as the numbers of a measurement, is not made to be read.
const largest = 64 << 10

// sourcePage returns the page of a source file, or nil if the file gets none: a folder, a large file, or one that is not text.
func (b *builder) sourcePage(file string) *page {
	if p := b.quoted[file]; p != nil {
		return p
	}
	name := filepath.Join(b.repo, file)
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > largest {
		return nil
	}
	text, err := os.ReadFile(name)
	if err != nil || !utf8.Valid(text) {
		return nil
	}
	p := &page{
		source: file, out: "source-" + strings.ReplaceAll(file, "/", "-") + ".html", title: file, code: string(text),
		ids: map[string]bool{},
	}
	for n := range strings.Count(strings.TrimSuffix(p.code, "\n"), "\n") + 1 {
		p.ids[lineID(n)] = true
	}
	b.quoted[file] = p
	return p
}

// lineID is the id of a line, counted from 0. It is the one that the usual browsers of sources have.
func lineID(n int) string { return fmt.Sprintf("L%d", n+1) }

// addSources adds the pages of the source files, after all links are known. Search does not find these pages: it
// finds the text that explains the code.
func (b *builder) addSources() {
	linking := map[string][]*page{} // the pages that link to a page
	for _, p := range b.pages {
		for _, l := range p.links {
			if all := linking[l.out]; !slices.Contains(all, p) {
				linking[l.out] = append(all, p)
			}
		}
	}
	for _, file := range slices.Sorted(maps.Keys(b.quoted)) {
		p := b.quoted[file]
		var out strings.Builder
		fmt.Fprintf(&out, "<h1>%s</h1>\n<p>", html.EscapeString(file))
		for i, from := range linking[p.out] {
			out.WriteString([]string{"Pages that quote or name this file: ", ", "}[min(i, 1)])
			fmt.Fprintf(&out, "<a href=\"%s\">%s</a>", from.out, html.EscapeString(from.title))
		}
		out.WriteString(".</p>\n")
		out.WriteString(numbered(path.Base(file), p.code))
		p.body = []byte(out.String())
		b.pages = append(b.pages, p)
	}
}

// numbered is the text of a file with its tokens marked, and an id for each line. The style sheet counts the lines, so
// that a selection does not contain their numbers.
func numbered(name, text string) string {
	lexer := lexers.Match(name)
	if lexer == nil {
		lexer = lexers.Fallback
	}
	var b strings.Builder
	b.WriteString("<pre class=\"numbered\"><code>")
	tokens, err := chroma.Tokenise(chroma.Coalesce(lexer), nil, text)
	if err != nil {
		tokens = []chroma.Token{{Type: chroma.Text, Value: text}}
	}
	for n, line := range chroma.SplitTokensIntoLines(tokens) {
		fmt.Fprintf(&b, "<span class=\"l\" id=\"%s\">", lineID(n))
		for _, t := range line {
			span(&b, class(t.Type), strings.TrimSuffix(t.Value, "\n"))
		}
		b.WriteString("\n</span>")
	}
	b.WriteString("</code></pre>\n")
	return b.String()
}
