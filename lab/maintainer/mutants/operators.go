package mutants

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// operators are the kinds of changes, in the order of the columns of the report.
var operators = []string{"negate", "drop", "boundary", "constant", "swap", "equal", "logic", "nil-error"}

// A mutant is one small change: it replaces src[from:to] by text.
type mutant struct {
	File string // from the root, with slashes
	Line int
	Func string // "Conn.Fill", or "const minSize"
	Op   string
	Old  string // the changed code with some context, on one line
	New  string
	Nth  int // counts mutants of a function with the same description, from 1

	unit     *unit
	src      []byte
	from, to int
	text     string
}

// key returns the description of the mutant. It has no line number, so that changes elsewhere in the file do not
// affect it.
func (m *mutant) key() string {
	key := fmt.Sprintf("%s %s %s: %s → %s", m.File, m.Func, m.Op, m.Old, m.New)
	if m.Nth > 1 {
		key += fmt.Sprintf(" (%d)", m.Nth)
	}
	return key
}

// source returns the file with the change.
func (m *mutant) source() []byte {
	return slices.Concat(m.src[:m.from], []byte(m.text), m.src[m.to:])
}

// lines returns the changed lines, before and after the change, each joined into one line.
func (m *mutant) lines() (before, after string) {
	from := strings.LastIndexByte(string(m.src[:m.from]), '\n') + 1
	to := len(m.src)
	if i := strings.IndexByte(string(m.src[m.to:]), '\n'); i >= 0 {
		to = m.to + i
	}
	after = string(m.src[from:m.from]) + m.text + string(m.src[m.to:to])
	return squeeze(string(m.src[from:to]), 160), squeeze(after, 160)
}

// squeeze joins code into one line of at most the given number of characters.
func squeeze(code string, most int) string {
	code = strings.Join(strings.Fields(code), " ")
	if r := []rune(code); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return code
}

// A finder finds the mutants of one file.
type finder struct {
	set   *token.FileSet
	unit  *unit
	name  string
	file  *token.File
	stack []ast.Node        // the path from the file to the current node
	conds map[ast.Expr]bool // comparisons that are whole conditions
	found []*mutant
}

// find returns all mutants of a file.
func find(set *token.FileSet, u *unit, name string) []*mutant {
	f := &finder{set: set, unit: u, name: name, file: set.File(u.files[name].FileStart), conds: map[ast.Expr]bool{}}
	ast.Inspect(u.files[name], func(n ast.Node) bool {
		if n == nil {
			f.stack = f.stack[:len(f.stack)-1]
			return true
		}
		f.stack = append(f.stack, n)
		f.visit(n)
		return true
	})
	slices.SortStableFunc(f.found, func(a, b *mutant) int { return cmp.Compare(a.from, b.from) })
	times := map[string]int{}
	for _, m := range f.found {
		times[m.key()]++
		m.Nth = times[m.key()]
	}
	return f.found
}

func (f *finder) visit(n ast.Node) {
	switch n := n.(type) {
	case *ast.IfStmt:
		f.negate(n.Cond)
	case *ast.ForStmt:
		f.negate(n.Cond)
	case *ast.SwitchStmt:
		if n.Tag == nil {
			for _, c := range n.Body.List {
				for _, cond := range c.(*ast.CaseClause).List {
					f.negate(cond)
				}
			}
		}
	case *ast.BlockStmt:
		f.dropAll(n.List)
	case *ast.CaseClause:
		f.dropAll(n.Body)
	case *ast.CommClause:
		f.dropAll(n.Body)
	case *ast.BinaryExpr:
		f.binary(n)
	case *ast.BasicLit:
		f.literal(n)
	case *ast.CallExpr:
		f.swap(n)
	case *ast.ReturnStmt:
		f.nilError(n)
	}
}

var opposite = map[token.Token]token.Token{
	token.EQL: token.NEQ, token.NEQ: token.EQL,
	token.LSS: token.GEQ, token.GEQ: token.LSS,
	token.GTR: token.LEQ, token.LEQ: token.GTR,
}

// negate negates a condition.
func (f *finder) negate(cond ast.Expr) {
	switch c := cond.(type) {
	case nil: // for without a condition
		return
	case *ast.BinaryExpr:
		if op, ok := opposite[c.Op]; ok {
			f.conds[cond] = true
			f.replaceIn(cond, "negate", c.OpPos, c.OpPos+token.Pos(len(c.Op.String())), op.String())
			return
		}
		f.replace(cond, "negate", "!("+f.code(cond)+")")
	case *ast.UnaryExpr:
		f.replace(cond, "negate", f.code(c.X))
	default:
		f.replace(cond, "negate", "!"+f.code(cond))
	}
}

// dropAll drops statements, one at a time. It drops only assignments, calls and similar statements, which people
// forget. Without a declaration or a jump, most programs do not compile.
func (f *finder) dropAll(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				continue
			}
		case *ast.ExprStmt:
			if _, ok := s.X.(*ast.CallExpr); !ok {
				continue
			}
		case *ast.IncDecStmt, *ast.DeferStmt, *ast.GoStmt:
		default:
			continue
		}
		code := f.code(s)
		// Newlines keep the line numbers of the code after the statement.
		f.add("drop", s.Pos(), s.End(), strings.Repeat("\n", strings.Count(code, "\n")), squeeze(code, 100), "nothing")
	}
}

var neighbour = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS,
	token.GTR: token.GEQ, token.GEQ: token.GTR,
}

func (f *finder) binary(x *ast.BinaryExpr) {
	op, kind := neighbour[x.Op], "boundary"
	switch x.Op {
	case token.EQL, token.NEQ:
		op, kind = opposite[x.Op], "equal"
		if f.conds[x] {
			return // negate makes this mutant
		}
	case token.LAND:
		op, kind = token.LOR, "logic"
	case token.LOR:
		op, kind = token.LAND, "logic"
	case token.SHL:
		if isInteger(x.X) && isInteger(x.Y) {
			f.replace(x, "constant", "("+f.code(x)+" + 1)")
			f.replace(x, "constant", "("+f.code(x)+" - 1)")
		}
		return
	}
	if op != token.ILLEGAL {
		f.replaceIn(x, kind, x.OpPos, x.OpPos+token.Pos(len(x.Op.String())), op.String())
	}
}

func isInteger(x ast.Expr) bool {
	l, ok := x.(*ast.BasicLit)
	return ok && l.Kind == token.INT
}

// literal makes two mutants of an integer: one more and one less.
func (f *finder) literal(l *ast.BasicLit) {
	if l.Kind != token.INT {
		return
	}
	if shift, ok := f.parent().(*ast.BinaryExpr); ok && shift.Op == token.SHL && isInteger(shift.X) && isInteger(shift.Y) {
		return // binary changes the shift as one constant
	}
	value, err := strconv.ParseInt(l.Value, 0, 64)
	if err != nil {
		return
	}
	form := "%d"
	switch prefix := strings.ToLower(l.Value[:min(2, len(l.Value))]); prefix {
	case "0x":
		form = "0x%x"
	case "0o":
		form = "0o%o"
	}
	f.replace(l, "constant", fmt.Sprintf(form, value+1))
	if value > 0 { // -1 instead of 0 is an unlikely mistake
		f.replace(l, "constant", fmt.Sprintf(form, value-1))
	}
}

// commutative are functions for which the order of two arguments does not matter.
var commutative = []string{
	"min", "max", "bytes.Equal", "slices.Equal", "strings.EqualFold", "bytes.EqualFold", "hmac.Equal", "subtle.ConstantTimeCompare",
}

// swap exchanges two adjacent arguments of the same type.
func (f *finder) swap(call *ast.CallExpr) {
	if slices.Contains(commutative, types.ExprString(call.Fun)) {
		return
	}
	for i := range len(call.Args) - 1 {
		a, b := call.Args[i], call.Args[i+1]
		ta, tb := f.unit.info.TypeOf(a), f.unit.info.TypeOf(b)
		if call.Ellipsis.IsValid() && i+2 == len(call.Args) || ta == nil || tb == nil || !types.Identical(types.Default(ta), types.Default(tb)) {
			continue
		}
		ca, cb := f.code(a), f.code(b)
		if ca == cb {
			continue
		}
		between := string(f.src()[f.file.Offset(a.End()):f.file.Offset(b.Pos())])
		f.replaceIn(call, "swap", a.Pos(), b.End(), cb+between+ca)
	}
}

// nilError returns nil instead of an error.
func (f *finder) nilError(r *ast.ReturnStmt) {
	if len(r.Results) == 0 {
		return
	}
	last := r.Results[len(r.Results)-1]
	if id, ok := last.(*ast.Ident); ok && id.Name == "nil" {
		return
	}
	results := f.results()
	if results.NumFields() != len(r.Results) {
		return // as in return f(), where f has several results
	}
	t := f.unit.info.TypeOf(results.List[len(results.List)-1].Type)
	if t != nil && types.Identical(t, types.Universe.Lookup("error").Type()) {
		f.replaceIn(r, "nil-error", last.Pos(), last.End(), "nil")
	}
}

// results returns the results of the innermost function.
func (f *finder) results() *ast.FieldList {
	for _, n := range slices.Backward(f.stack) {
		switch n := n.(type) {
		case *ast.FuncDecl:
			return n.Type.Results
		case *ast.FuncLit:
			return n.Type.Results
		}
	}
	return nil
}

func (f *finder) src() []byte { return f.unit.text[f.name] }

func (f *finder) code(n ast.Node) string {
	return string(f.src()[f.file.Offset(n.Pos()):f.file.Offset(n.End())])
}

func (f *finder) parent() ast.Node { return f.stack[len(f.stack)-2] }

// replace changes a whole expression.
func (f *finder) replace(x ast.Expr, op, text string) { f.replaceIn(x, op, x.Pos(), x.End(), text) }

// maxContext is how much code a description shows, in bytes.
const maxContext = 80

// replaceIn replaces a part of a node. The description shows the enclosing expression or statement if it is short,
// because "1 → 2" alone says little.
func (f *finder) replaceIn(n ast.Node, op string, from, to token.Pos, text string) {
	shown := n
	for _, up := range slices.Backward(f.stack) {
		switch up.(type) {
		case *ast.ValueSpec, *ast.AssignStmt, *ast.ReturnStmt, *ast.ExprStmt, *ast.IncDecStmt, ast.Expr:
		default:
			up = nil
		}
		if up == nil || up.Pos() > n.Pos() || up.End() < n.End() || strings.Contains(f.code(up), "\n") || len(f.code(up)) > maxContext {
			break
		}
		shown = up
	}
	before, after := f.src()[f.file.Offset(shown.Pos()):f.file.Offset(from)], f.src()[f.file.Offset(to):f.file.Offset(shown.End())]
	f.add(op, from, to, text, squeeze(f.code(shown), 2*maxContext), squeeze(string(before)+text+string(after), 2*maxContext))
}

// add records a mutant.
func (f *finder) add(op string, from, to token.Pos, text, before, after string) {
	f.found = append(f.found, &mutant{
		File: f.unit.dir + "/" + f.name, Line: f.file.Line(from), Func: f.function(), Op: op, Old: before, New: after,
		unit: f.unit, src: f.src(), from: f.file.Offset(from), to: f.file.Offset(to), text: text,
	})
}

// function returns the name of the current declaration.
func (f *finder) function() string {
	switch d := f.stack[1].(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || len(d.Recv.List) == 0 {
			return d.Name.Name
		}
		return strings.Trim(types.ExprString(d.Recv.List[0].Type), "*()") + "." + d.Name.Name
	case *ast.GenDecl:
		for _, n := range f.stack {
			switch s := n.(type) {
			case *ast.ValueSpec:
				return d.Tok.String() + " " + s.Names[0].Name
			case *ast.TypeSpec:
				return d.Tok.String() + " " + s.Name.Name
			}
		}
	}
	return "?"
}
