package weave

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree makes a repository of the given files.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const source = `package p

// A T has a method.
type T[V any] struct{}

// M is it.
func (t *T[V]) M() {
	f()
}

func f() {
	// !+inner
	if x {
		y()
	}
	// !-inner
}

const (
	// A is one.
	A = 1
	B = 2 // two
)

var single = 3
`

func TestCode(t *testing.T) {
	repo := tree(t, map[string]string{"a/p.go": source, "c/x.c": "int a;\n/* !+r */\nint b;\n/* !-r */\n"})
	for subject, want := range map[string]string{
		"a/p.go T":      "```go\n// A T has a method.\ntype T[V any] struct{}\n```\n\n*[a/p.go](../../a/p.go#L3), lines 3 to 4*",
		"a/p.go T.M":    "```go\n// M is it.\nfunc (t *T[V]) M() {\n\tf()\n}\n```\n\n*[a/p.go](../../a/p.go#L6), lines 6 to 9*",
		"a/p.go f":      "```go\nfunc f() {\n\tif x {\n\t\ty()\n\t}\n}\n```\n\n*[a/p.go](../../a/p.go#L11), lines 11 to 17*",
		"a/p.go inner":  "```go\nif x {\n\ty()\n}\n```\n\n*[a/p.go](../../a/p.go#L13), lines 13 to 15*",
		"a/p.go A":      "```go\n// A is one.\nA = 1\n```\n\n*[a/p.go](../../a/p.go#L20), lines 20 to 21*",
		"a/p.go (B)":    "```go\nconst (\n\t// A is one.\n\tA = 1\n\tB = 2 // two\n)\n```\n\n*[a/p.go](../../a/p.go#L19), lines 19 to 23*",
		"a/p.go B":      "```go\nB = 2 // two\n```\n\n*[a/p.go](../../a/p.go#L22), line 22*",
		"a/p.go single": "```go\nvar single = 3\n```\n\n*[a/p.go](../../a/p.go#L25), line 25*",
		"c/x.c r":       "```c\nint b;\n```\n\n*[c/x.c](../../c/x.c#L3), line 3*",
	} {
		page := Page{"docs/book/1.md", "# T\n\n<!-- code " + subject + " -->\nold\n<!-- /code -->\nend"}
		got, err := page.Weave(repo)
		if err != nil {
			t.Errorf("%s: %v", subject, err)
			continue
		}
		want = "# T\n\n<!-- code " + subject + " -->\n" + want + "\n<!-- /code -->\nend"
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got)\n%s", subject, d)
		}
		if again, err := (Page{page.Path, got}).Weave(repo); err != nil || again != got {
			t.Errorf("%s: weaving twice differs: %v", subject, err)
		}
	}
}

func TestFigure(t *testing.T) {
	repo := tree(t, map[string]string{
		"docs/bench/a.svg": "<svg/>",
		"docs/p.md":        "# P\n\n## Some table\n\ntext\n\n| n | a | b |\n|---|---|---|\n| [x](../s/x.md) | 1 | 2 |\n| `y` | 3 | 4 |\n\n## Other\n",
	})
	for subject, want := range map[string]string{
		"docs/bench/a.svg | A caption":                   "![A caption](../bench/a.svg)",
		"docs/p.md#some-table":                           "| n | a | b |\n| --- | --- | --- |\n| [x](../../s/x.md) | 1 | 2 |\n| `y` | 3 | 4 |\n\n*from [docs/p.md](../p.md#some-table)*",
		"docs/p.md#some-table | rows: y | columns: b, n": "| b | n |\n| --- | --- |\n| 4 | `y` |\n\n*from [docs/p.md](../p.md#some-table)*",
		"docs/p.md#some-table | rows: y, x | columns: n": "| n |\n| --- |\n| `y` |\n| [x](../../s/x.md) |\n\n*from [docs/p.md](../p.md#some-table)*",
	} {
		got, err := Page{"docs/book/1.md", "<!-- figure " + subject + " -->\n<!-- /figure -->"}.Weave(repo)
		if err != nil {
			t.Errorf("%s: %v", subject, err)
			continue
		}
		got = strings.TrimSuffix(strings.TrimPrefix(got, "<!-- figure "+subject+" -->\n"), "\n<!-- /figure -->")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got)\n%s", subject, d)
		}
	}
}

// TestUnresolved checks that a directive that does not resolve is an error that names its line, and not a gap.
func TestUnresolved(t *testing.T) {
	repo := tree(t, map[string]string{"p.go": source, "p.md": "## H\n\nno table\n\n## T\n\n| a |\n|---|\n| b |\n", "a.svg": "<svg/>"})
	for text, want := range map[string]string{
		"\n<!-- code p.go g -->\n<!-- /code -->":                     "d.md:2: code p.go g: the file has no declaration and no region g",
		"<!-- code q.go f -->\n<!-- /code -->":                       "d.md:1: code q.go f",
		"<!-- code p.go -->\n<!-- /code -->":                         "want a path and the name",
		"<!-- code p.go f -->":                                       "d.md:1: no line <!-- /code -->",
		"<!-- code p.go f -->\n<!-- code p.go f -->\n<!-- /code -->": "d.md:2: a directive inside that of line 1",
		"<!-- /code -->":                                             "d.md:1: <!-- /code --> ends nothing",
		"<!-- figure b.svg | x -->\n<!-- /figure -->":                "figure b.svg",
		"<!-- figure a.svg -->\n<!-- /figure -->":                    "needs a caption",
		"<!-- figure p.md#x -->\n<!-- /figure -->":                   `no heading "x" with a table`,
		"<!-- figure p.md#h -->\n<!-- /figure -->":                   `no heading "h" with a table`,
		"<!-- figure p.md#t | rows: c -->\n<!-- /figure -->":         `the table has no row "c"`,
		"<!-- figure p.md#t | columns: c -->\n<!-- /figure -->":      `the table has no column "c"`,
		"<!-- run -->\ntext\n<!-- /run -->":                          "want a block",
		"<!-- run -->\n```console\noutput\n```\n<!-- /run -->":       "before the first command",
	} {
		got, err := Page{"d.md", text}.Weave(repo)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want an error with %q", text, got, err, want)
		}
	}
	if got, err := (Page{"d.md", "```\n<!-- code p.go g -->\n```\n"}).Weave(repo); err != nil {
		t.Errorf("a directive in a fenced block is text: %q, %v", got, err)
	}
}

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		same      bool
	}{
		{"", "", true},
		{"a", "a\n", true},
		{"a", "", false},
		{"", "a\n", false},
		{"a|b", "a\nb\n", true},
		{"a|b", "a\n", false},
		{"a|…|c", "a\nb\nb\nc\n", true},
		{"a|…|c", "a\nc\n", true},
		{"a|…|c", "a\nb\n", false},
		{"x…y", "x 1 y\n", true},
		{"x…y", "x 1 z\n", false},
		{"a.c", "abc\n", false},
		{"a", "a\nb\n", false},
	} {
		var want []string
		if tt.want != "" {
			want = strings.Split(tt.want, "|")
		}
		if got := Compare(want, tt.got); (got == "") != tt.same {
			t.Errorf("%q and %q: %q, want the same: %v", tt.want, tt.got, got, tt.same)
		}
	}
	if got := Compare([]string{"a", "b", "c"}, "a\nx\nc\n"); got != `there is no line "b" in its place` {
		t.Error(got)
	}
}

// TestRun checks that a block fails if its output differs, that a variable of one command is known to the next, and
// that the port is replaced.
func TestRun(t *testing.T) {
	block := func(s string) Directive {
		return Directive{Kind: "run", Body: strings.Split("```console\n"+s+"\n```", "\n")}
	}
	for text, bad := range map[string]string{
		"$ x=1\n$ echo $x \\\n  two\n1 two": "",
		"$ echo 8080\n8080":                 "",
		"$ test $P = 9999 && echo yes\nyes": "",
		"$ echo a\nb":                       `there is no line "b"`,
		"$ echo a":                          "the output differs",
		"$ exit 0\n$ echo a\na":             "",
	} {
		err := block(text).Run(t.Context(), t.TempDir(), "9999", []string{"P=9999"})
		if text == "$ exit 0\n$ echo a\na" {
			if err == nil {
				t.Error("a command that was not reached is accepted")
			}
			continue
		}
		if bad == "" && err != nil || bad != "" && (err == nil || !strings.Contains(err.Error(), bad)) {
			t.Errorf("%q: %v, want %q", text, err, bad)
		}
	}
}
