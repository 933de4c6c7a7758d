package site

import (
	"html"
	"strings"

	"github.com/alecthomas/chroma/v2"
	"github.com/alecthomas/chroma/v2/lexers"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/util"
)

func (r *nodes) fenced(w util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if entering {
		block := n.(*ast.FencedCodeBlock)
		_, _ = w.WriteString(highlight(string(block.Language(src)), string(block.Lines().Value(src))))
	}
	return ast.WalkContinue, nil
}

func (r *nodes) indented(w util.BufWriter, src []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if entering {
		text := string(n.Lines().Value(src))
		language := ""
		if strings.HasPrefix(text, "$ ") {
			language = "console"
		}
		_, _ = w.WriteString(highlight(language, text))
	}
	return ast.WalkContinue, nil
}

// highlight marks the tokens of a block by classes. There are few classes, so the pages stay small.
func highlight(language, text string) string {
	var b strings.Builder
	b.WriteString("<pre")
	if language != "" {
		b.WriteString(" class=\"" + html.EscapeString(language) + "\"")
	}
	b.WriteString("><code>")
	switch language {
	case "diff":
		lines(&b, text, func(line string) string {
			switch line[0] {
			case '-':
				return "gd"
			case '+':
				return "gi"
			}
			return ""
		})
	case "console":
		more := false
		lines(&b, text, func(line string) string {
			command := more || strings.HasPrefix(line, "$ ")
			more = command && strings.HasSuffix(line, `\`)
			if command {
				return "gp"
			}
			return ""
		})
	default:
		tokens(&b, language, text)
	}
	b.WriteString("</code></pre>\n")
	return b.String()
}

func lines(b *strings.Builder, text string, class func(string) string) {
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		c := ""
		if line != "" {
			c = class(line)
		}
		span(b, c, line)
		b.WriteByte('\n')
	}
}

func span(b *strings.Builder, class, text string) {
	if class == "" {
		b.WriteString(html.EscapeString(text))
		return
	}
	b.WriteString("<span class=\"" + class + "\">" + html.EscapeString(text) + "</span>")
}

func tokens(b *strings.Builder, language, text string) {
	lexer := lexers.Get(language)
	if language == "" || lexer == nil {
		b.WriteString(html.EscapeString(text))
		return
	}
	it, err := chroma.Coalesce(lexer).Tokenise(nil, text)
	if err != nil {
		b.WriteString(html.EscapeString(text))
		return
	}
	for t := it(); t != chroma.EOF; t = it() {
		span(b, class(t.Type), t.Value)
	}
}

func class(t chroma.TokenType) string {
	switch {
	case t.InCategory(chroma.Comment):
		return "c"
	case t.InCategory(chroma.Keyword):
		return "k"
	case t.InSubCategory(chroma.LiteralString):
		return "s"
	case t.InSubCategory(chroma.LiteralNumber):
		return "m"
	case t == chroma.NameFunction || t == chroma.NameFunctionMagic:
		return "f"
	}
	return ""
}
