package weave

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"

	"fourways.example/common/servertest/variants"
)

// code returns a fenced block with the source of a declaration, and a line with its place.
func (p Page) code(repo string, d Directive) ([]string, error) {
	file, name, ok := strings.Cut(d.Subject, " ")
	if !ok {
		return nil, fmt.Errorf("code %s: want a path and the name of a declaration or a region", d.Subject)
	}
	text, err := os.ReadFile(filepath.Join(repo, file))
	if err != nil {
		return nil, fmt.Errorf("code %s: %w", d.Subject, err)
	}
	from, to, err := find(file, string(text), name)
	if err != nil {
		return nil, fmt.Errorf("code %s: %w", d.Subject, err)
	}
	lines := strings.Split(string(text), "\n")[from-1 : to]
	out := []string{"```" + language(file)}
	for _, line := range undent(lines) {
		if !strings.HasPrefix(strings.TrimSpace(line), "// !") {
			out = append(out, line)
		}
	}
	place := fmt.Sprintf("*[%s](%s#L%d), lines %d to %d*", file, p.relative(file), from, from, to)
	if from == to {
		place = fmt.Sprintf("*[%s](%s#L%d), line %d*", file, p.relative(file), from, from)
	}
	return append(out, "```", "", place), nil
}

func language(file string) string {
	switch filepath.Ext(file) {
	case ".go":
		return "go"
	case ".c", ".h":
		return "c"
	}
	return ""
}

// undent removes the white space that all lines have at their beginning.
func undent(lines []string) []string {
	common := ""
	for i, line := range lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, "\t "))]
		switch {
		case i == 0:
			common = indent
		case strings.TrimSpace(line) != "":
			for !strings.HasPrefix(indent, common) {
				common = common[:len(common)-1]
			}
		}
	}
	var out []string
	for _, line := range lines {
		out = append(out, strings.TrimPrefix(line, common))
	}
	return out
}

// find returns the first and the last line of a declaration with its comment, or of a tagged region.
func find(file, text, name string) (from, to int, err error) {
	if f, t := region(text, name); f > 0 && t >= f {
		return f, t, nil
	}
	if filepath.Ext(file) != ".go" {
		return 0, 0, fmt.Errorf("the file has no region // !+%s … // !-%s", name, name)
	}
	name, whole := strings.CutPrefix(name, "(")
	name = strings.TrimSuffix(name, ")")
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, text, parser.ParseComments)
	if err != nil {
		return 0, 0, err
	}
	line := func(p token.Pos) int { return fset.Position(p).Line }
	for _, decl := range parsed.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if variants.FuncName(decl) == name {
				return line(start(decl.Pos(), decl.Doc)), line(decl.End()), nil
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				doc := names(spec)[name]
				if doc == nil {
					continue
				}
				if whole || len(decl.Specs) == 1 || !decl.Lparen.IsValid() {
					return line(start(decl.Pos(), decl.Doc)), line(decl.End()), nil
				}
				return line(start(spec.Pos(), *doc)), line(spec.End()), nil
			}
		}
	}
	return 0, 0, fmt.Errorf("the file has no declaration and no region %s", name)
}

// region returns the lines between the tags of a region, or zeros.
func region(text, name string) (from, to int) {
	for i, line := range strings.Split(text, "\n") {
		switch strings.TrimSpace(line) {
		case "// !+" + name, "/* !+" + name + " */":
			from = i + 2
		case "// !-" + name, "/* !-" + name + " */":
			to = i
		}
	}
	return from, to
}

func start(p token.Pos, doc *ast.CommentGroup) token.Pos {
	if doc != nil {
		return doc.Pos()
	}
	return p
}

// names returns the names that a spec declares, each with the comment of the spec.
func names(spec ast.Spec) map[string]**ast.CommentGroup {
	out := map[string]**ast.CommentGroup{}
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		out[spec.Name.Name] = &spec.Doc
	case *ast.ValueSpec:
		for _, n := range spec.Names {
			out[n.Name] = &spec.Doc
		}
	}
	return out
}
