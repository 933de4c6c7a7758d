package pitfall

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/variants"
)

var question = &pitfalls.Pitfall{Scenario: scenario.Scenario{Choices: []string{"its page", "nothing", "503"}, Answer: 1}}

func TestAsk(t *testing.T) {
	for _, tt := range []struct{ typed, want, says string }{
		{"b\n", "b", ""},
		{"B)\n", "b", ""},
		{"(c).\n", "c", ""},
		{"Its page\n", "a", ""},
		{"\n", "", ""},
		{"", "", ""},
		{"quit\nd\n\n", "", `"quit" is not one of the choices`},
		{"bb\na\n", "a", `"bb" is not one of the choices`},
	} {
		var out bytes.Buffer
		got, err := (&page{out: &out, width: 80}).ask(t.Context(), strings.NewReader(tt.typed), question)
		if got != tt.want || err != nil || !strings.Contains(out.String(), tt.says) {
			t.Errorf("typed %q: got %q, %v, want %q; printed %q", tt.typed, got, err, tt.want, out.String())
		}
	}
}

// TestAskInterrupted checks that Ctrl-C ends the question while a read from the terminal still blocks.
func TestAskInterrupted(t *testing.T) {
	in, typing := io.Pipe()
	defer typing.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&page{out: io.Discard, width: 80}).ask(ctx, in, question); !errors.Is(err, context.Canceled) {
		t.Errorf("got the error %v, want %v", err, context.Canceled)
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct{ expects, want string }{
		{"", "The answer: nothing\n\n"},
		{"b", "You expected: nothing — correct.\n\n"},
		{"a", "You expected:  its page\nWhat happened: nothing\n\n"},
	} {
		var out bytes.Buffer
		tr := &scenario.Transcript{}
		(&page{out: &out, width: 80}).verdict(question, tr, tr, tt.expects)
		if got, _, _ := strings.Cut(out.String(), "Assertion"); got != tt.want {
			t.Errorf("expected %q: got %q, want %q", tt.expects, got, tt.want)
		}
	}
}

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		line  string
		width int
		want  []string
	}{
		{"+    if a && b {", 0, []string{"+    if a && b {"}},
		{"+    if a && b {", 40, []string{"+    if a && b {"}},
		{"+  first second third fourth", 24, []string{"+  first second third", "           fourth"}},
		{"+  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 24, []string{"+  aaaaaaaaaaaaaaaaaaaaa", "           aaaaaaaaa"}},
		{"+  f() // first second third", 24, []string{"+  f() // first second", "           // third"}},
		{"", 24, []string{""}},
	} {
		if d := cmp.Diff(tt.want, fold(tt.line, tt.width)); d != "" {
			t.Errorf("%q at %d: %s", tt.line, tt.width, d)
		}
	}
}

func TestUnknownID(t *testing.T) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	all, err := pitfalls.All(repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ id, want string }{
		{"shortread", "did you mean short-read?"},
		{"short wirte", "did you mean short-write?"},
		{"zzz", "`make pitfall`"},
		{"--", "`make pitfall`"},
		{"same-core", "go test -v -run TestSameCore ./servertest/pitfalls/measuring"},
	} {
		if err := unknownID(repo, tt.id, all); !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %s", tt.id, err, tt.want)
		}
	}
}

// TestNotes checks that every page without a scenario is found.
func TestNotes(t *testing.T) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	all, err := notes(repo)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range all {
		got = append(got, n.ID)
	}
	want := strings.Fields("blocked-calls-pin-threads eintr-is-yours goroutines-do-not-bound-threads no-deadlines closed-loop same-core")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
