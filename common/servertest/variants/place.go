package variants

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"

	"fourways.example/common/servertest/stages"
)

// A Place names a piece of the sources. It is looked up when it is needed, so no line number
// gets stale.
type Place struct {
	Dir  string // the package's folder, from the root of the repository; "STAGE" is the stage's own
	Func string // "Listen", or "Conn.Fill" for a method; "" is wherever Has is
	Has  string // a piece of the line that is meant, if it is not the first line of Func
}

// Find looks a place up: "common/h1/conn.go:210". stage is what "STAGE" stands for.
func (r *Repo) Find(p Place, stage int) (string, error) {
	if p.Dir == "STAGE" {
		p.Dir = stages.Dirs[stage]
	}
	files, err := filepath.Glob(filepath.Join(r.Root, filepath.FromSlash(p.Dir), "*.go"))
	if err != nil {
		return "", err
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if line := p.line(string(text)); line > 0 {
			return fmt.Sprintf("%s/%s:%d", p.Dir, filepath.Base(path), line), nil
		}
	}
	return "", fmt.Errorf("there is no %q in %s of %s", p.Has, p.Func, p.Dir)
}

// line is where the place is in a file, from 1 on, or 0.
func (p *Place) line(text string) int {
	from, to := 1, 1+strings.Count(text, "\n")
	if p.Func != "" {
		if from, to = funcLines(text, p.Func); from == 0 || p.Has == "" {
			return from
		}
	}
	n := 0
	for line := range strings.Lines(text) {
		if n++; n >= from && n <= to && strings.Contains(line, p.Has) {
			return n
		}
	}
	return 0
}

// funcLines are the first and the last line of a function or method, or 0.
func funcLines(text, name string) (from, to int) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", text, parser.SkipObjectResolution)
	if err != nil {
		return 0, 0
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if ok && funcName(f) == name {
			return set.Position(f.Pos()).Line, set.Position(f.End()).Line
		}
	}
	return 0, 0
}

// funcName is "Listen", or "Conn.Fill" for a method.
func funcName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return f.Name.Name
}
