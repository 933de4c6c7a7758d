package learn

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/learn/exercise"
)

// TestParagraph breaks texts between words, and gives a long path a line of its own.
func TestParagraph(t *testing.T) {
	out := &output{grown: make(chan struct{}, 1)}
	v := &view{out: out, width: 20}
	for _, row := range []struct{ label, text, want string }{
		{"Check: ", "one, two, three, four", "Check: one, two,\n       three, four\n"},
		{"", "one two three four five", "one two three four\nfive\n"},
		{"Read: ", "a page; a/very/long/path.md; b", "Read: a page;\na/very/long/path.md;\n      b\n"},
		{"Read: ", "a; an/even/longer/path/of/a.md; b", "Read: a;\nan/even/longer/path/of/a.md;\n      b\n"},
	} {
		v.paragraph(row.label, row.text)
		if got := out.taken(); got != row.want {
			t.Errorf("got\n%swant\n%s", got, row.want)
		}
	}
}

// TestShorten shortens lists.
func TestShorten(t *testing.T) {
	for _, row := range []struct {
		list  string
		width int
		want  string
	}{
		{"a: one, two", 11, "a: one, two"},
		{"a: one, two", 10, "a: one, …"},
		{"a: one, two, three", 14, "a: one, two, …"},
		{"a: one, two, three", 13, "a: one, …"},
		{"oneword", 3, "oneword, …"},
	} {
		if got := shorten(row.list, row.width); got != row.want {
			t.Errorf("%q in %d: %q, want %q", row.list, row.width, got, row.want)
		}
	}
}

// TestClaims checks that each case that an exercise plays is explained: docs/spec.md has the claims that are printed.
func TestClaims(t *testing.T) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	spec := read(t, filepath.Join(repo.Root, "docs", "spec.md"))
	some := 0
	for _, e := range exercise.Gaps() {
		for _, c := range e.Check {
			claims := claimsOf(&c)
			if plays := strings.HasPrefix(c.Run, "TestConformance") || strings.HasPrefix(c.Run, "TestStep"); plays != (len(claims) > 0) {
				t.Errorf("%s: %s proves %q", e.ID, c.Run, claims)
			}
			for _, claim := range claims {
				some++
				if !strings.Contains(spec, "`"+claim+"`: ") {
					t.Errorf("%s: docs/spec.md has no claim %s", e.ID, claim)
				}
			}
		}
	}
	if some == 0 {
		t.Error("no exercise plays a case")
	}
}

// TestBuilds has the builds of an exercise with two checks of one package, and of one with a step.
func TestBuilds(t *testing.T) {
	e := &exercise.Exercise{Check: []exercise.Tests{
		{Dir: "a", Package: ".", Run: "^TestA$"},
		{Dir: "a", Package: ".", Run: "TestB$/^x$"},
		{Dir: "b", Package: ".", Run: "TestStep$/^(content-get)$", Env: []string{"STEP=4a"}},
	}}
	var got []string
	for _, b := range builds(e) {
		got = append(got, b.Shell())
	}
	want := []string{"cd a && go test -run '^$' .", "cd b && STEP=4a go test -run 'TestStep$/^$' ."}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestBegin begins an exercise, which builds in the background, and looks for what is left to compile. The go command compiles a package again if its
// folder is another one, so each copy begins with nothing.
func TestBegin(t *testing.T) {
	compiles := func(v *view) bool {
		cmd := exec.CommandContext(t.Context(), "go", "test", "-x", "-count=1", "-run", "^none$", ".")
		cmd.Dir = v.copied.path("toy")
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return strings.Contains(string(said), "/compile ")
	}
	v, _ := newToy(t)
	ctx, cancel := context.WithCancel(t.Context())
	wait, err := v.begin(ctx, "two")
	cancel() // the program ends
	if err != nil {
		t.Fatal(err)
	}
	wait()
	if compiles(v) {
		t.Error("after the build in the background, the check compiles")
	}
	if v, _ = newToy(t); !compiles(v) {
		t.Error("in a new copy, nothing is compiled: this test sees nothing")
	}
}
