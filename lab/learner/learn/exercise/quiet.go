package exercise

import (
	"bytes"
	"go/ast"
	"go/doc"
	"go/format"
	"regexp"
)

// directive matches a comment that is for a tool.
var directive = regexp.MustCompile(`^//[a-z]+:`)

// quiet takes comments out of a file, because they would tell a reader where the code does not do what they say: in all
// functions of the file, those inside the body, and those above it after their first sentence. It does so in the whole
// file, and not only at the bug, so that what is missing tells nothing either.
func quiet(text []byte) ([]byte, error) {
	s, err := parse(text)
	if err != nil {
		return nil, err
	}
	var edits []edit
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		if f.Doc != nil && !isDirective(f.Doc) {
			sentence := new(doc.Package).Synopsis(f.Doc.Text())
			edits = append(edits, edit{s.offset(f.Doc.Pos()), s.offset(f.Doc.End()), "// " + sentence})
		}
		for _, c := range s.file.Comments {
			if c.Pos() > f.Body.Lbrace && c.End() <= f.Body.Rbrace && !isDirective(c) {
				edits = append(edits, s.comment(c))
			}
		}
	}
	return format.Source(apply(s.text, edits))
}

func isDirective(c *ast.CommentGroup) bool {
	for _, line := range c.List {
		if directive.MatchString(line.Text) {
			return true
		}
	}
	return false
}

// comment returns an edit that takes a comment out: with the white space before it, and with its lines if it has them
// to itself.
func (s *source) comment(c *ast.CommentGroup) edit {
	from, to := s.offset(c.Pos()), s.offset(c.End())
	from = len(bytes.TrimRight(s.text[:from], " \t"))
	if s.text[from-1] == '\n' && s.text[to] == '\n' {
		to++
	}
	return edit{from: from, to: to}
}
