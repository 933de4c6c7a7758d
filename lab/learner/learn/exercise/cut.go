package exercise

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"fourways.example/common/servertest/variants"
)

// A source is a parsed file.
type source struct {
	text []byte
	set  *token.FileSet
	file *ast.File
}

func parse(text []byte) (*source, error) {
	s := &source{text: text, set: token.NewFileSet()}
	var err error
	s.file, err = parser.ParseFile(s.set, "", text, parser.ParseComments)
	return s, err
}

// offset converts a position to an index of the text.
func (s *source) offset(p token.Pos) int { return s.set.Position(p).Offset }

// find returns the function "Listen" or the method "Conn.Fill".
func (s *source) find(name string) (*ast.FuncDecl, error) {
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil && variants.FuncName(f) == name {
			return f, nil
		}
	}
	return nil, fmt.Errorf("there is no function %s with a body", name)
}

// body returns the text from the opening to the closing brace of a function.
func (s *source) body(name string) (string, error) {
	f, err := s.find(name)
	if err != nil {
		return "", err
	}
	return string(s.text[s.offset(f.Body.Lbrace) : s.offset(f.Body.Rbrace)+1]), nil
}

// An edit replaces text[from:to].
type edit struct {
	from, to int
	text     string
}

// apply makes edits that do not overlap.
func apply(text []byte, edits []edit) []byte {
	slices.SortFunc(edits, func(a, b edit) int { return a.from - b.from })
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		out.Write(text[at:e.from])
		out.WriteString(e.text)
		at = e.to
	}
	out.Write(text[at:])
	return out.Bytes()
}

// replaceBodies gives functions new bodies, with their braces. All other bytes stay.
func (s *source) replaceBodies(names []string, body func(name string) (string, error)) ([]byte, error) {
	var edits []edit
	for _, name := range names {
		f, err := s.find(name)
		if err != nil {
			return nil, err
		}
		text, err := body(name)
		if err != nil {
			return nil, err
		}
		edits = append(edits, edit{s.offset(f.Body.Lbrace), s.offset(f.Body.Rbrace) + 1, text})
	}
	return apply(s.text, edits), nil
}

// cut gives functions another body. It takes out the imports that only their own bodies used, and returns the paths
// of these. All other bytes stay.
func cut(text []byte, names []string, body string) (stub []byte, pruned []string, err error) {
	whole, err := parse(text)
	if err != nil {
		return nil, nil, err
	}
	stub, err = whole.replaceBodies(names, func(string) (string, error) {
		return body, nil
	})
	if err != nil {
		return nil, nil, err
	}
	rest, err := parse(stub)
	if err != nil {
		return nil, nil, err
	}
	stub, pruned = rest.prune()
	return stub, pruned, nil
}

// Replace gives one function another body, as for an exercise.
func Replace(text []byte, name, body string) ([]byte, error) {
	text, _, err := cut(text, []string{name}, body)
	return text, err
}

// Prune takes out the imports that a file does not use.
func Prune(text []byte) ([]byte, error) {
	s, err := parse(text)
	if err != nil {
		return nil, err
	}
	text, _ = s.prune()
	return text, nil
}

// Restore replaces the bodies of functions in a stub by those of the original, and gives the stub the imports of the
// original. It does what a reader does who types the original code in.
func Restore(stub, original []byte, names []string) ([]byte, error) {
	from, err := parse(original)
	if err != nil {
		return nil, err
	}
	to, err := parse(stub)
	if err != nil {
		return nil, err
	}
	filled, err := to.replaceBodies(names, from.body)
	if err != nil {
		return nil, err
	}
	to, err = parse(filled)
	if err != nil {
		return nil, err
	}
	a, b := to.imports()
	c, d := from.imports()
	return apply(filled, []edit{{a, b, string(original[c:d])}}), nil
}

// Bodies returns the text of functions, from the word func to the closing brace, one after the other.
func Bodies(text []byte, names []string) (string, error) {
	s, err := parse(text)
	if err != nil {
		return "", err
	}
	var out []string
	for _, name := range names {
		f, err := s.find(name)
		if err != nil {
			return "", err
		}
		out = append(out, string(text[s.offset(f.Type.Func):s.offset(f.End())]))
	}
	return strings.Join(out, "\n\n"), nil
}

// imports returns the range of the text from the end of the package clause to the end of the last import.
func (s *source) imports() (from, to int) {
	from = s.offset(s.file.Name.End())
	to = from
	for _, d := range s.file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
			to = s.offset(g.End())
		}
	}
	return from, to
}

// prune takes out the imports that the file does not use.
func (s *source) prune() (text []byte, pruned []string) {
	used := map[string]bool{}
	for _, id := range s.file.Unresolved {
		used[id.Name] = true
	}
	var edits []edit
	for _, d := range s.file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.IMPORT {
			continue
		}
		var unused []*ast.ImportSpec
		for _, spec := range g.Specs {
			if spec := spec.(*ast.ImportSpec); !used[importName(spec)] {
				unused = append(unused, spec)
				pruned = append(pruned, importPath(spec))
			}
		}
		if len(unused) == len(g.Specs) {
			edits = append(edits, s.line(g, true))
			continue
		}
		for _, spec := range unused {
			edits = append(edits, s.line(spec, false))
		}
	}
	return tidyGroups(apply(s.text, edits)), pruned
}

// line returns an edit that takes out the whole lines of a node and, if asked, one empty line after them.
func (s *source) line(n ast.Node, empty bool) edit {
	from, to := s.offset(n.Pos()), s.offset(n.End())
	for from > 0 && s.text[from-1] != '\n' {
		from--
	}
	for to < len(s.text) && s.text[to-1] != '\n' {
		to++
	}
	if empty && to < len(s.text) && s.text[to] == '\n' {
		to++
	}
	return edit{from: from, to: to}
}

var (
	importBlock = regexp.MustCompile(`(?s)\nimport \(\n.*?\n\)\n`)
	emptyGroup  = regexp.MustCompile(`\n\n+`)
)

// tidyGroups takes empty groups out of an import declaration with parentheses, as gofmt wants it.
func tidyGroups(text []byte) []byte {
	at := importBlock.FindIndex(text)
	if at == nil {
		return text
	}
	block := emptyGroup.ReplaceAll(text[at[0]+1:at[1]], []byte("\n\n"))
	block = bytes.Replace(block, []byte("(\n\n"), []byte("(\n"), 1)
	block = bytes.Replace(block, []byte("\n\n)"), []byte("\n)"), 1)
	return slices.Concat(text[:at[0]+1], block, text[at[1]:])
}

func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		panic(err) // the parser accepts only string literals
	}
	return p
}

var majorVersion = regexp.MustCompile(`/v[0-9]+$`)

// importName returns the name by which a file uses an import. All packages of this repository, and those that they
// import, have the last element of their path as their name.
func importName(spec *ast.ImportSpec) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	return path.Base(majorVersion.ReplaceAllString(importPath(spec), ""))
}
