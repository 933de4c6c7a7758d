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

// A Place names a line of the sources without its number, which changes too often.
type Place struct {
	Dir  string // the package's folder, from the root of the repository; "STAGE" stands for the stage's folder
	Func string // "Listen", or "Conn.Fill" for a method; "" means anywhere in the package
	Has  string // a part of the line; "" means the first line of Func
}

// Find returns the file and line of a place, such as "common/h1/conn.go:210". "STAGE" in p.Dir stands for the folder
// of stage.
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

// line returns the number of the place's line in a file, from 1, or 0 if it is not there.
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

// funcLines returns the numbers of the first and the last line of a function or method, or 0 if there is none.
func funcLines(text, name string) (from, to int) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", text, parser.SkipObjectResolution)
	if err != nil {
		return 0, 0
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if ok && FuncName(f) == name {
			return set.Position(f.Pos()).Line, set.Position(f.End()).Line
		}
	}
	return 0, 0
}

// FuncName returns "Listen" for a function, "Conn.Fill" for a method, also of a generic type.
func FuncName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return f.Name.Name
}
