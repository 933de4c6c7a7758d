package ledger

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const repo = "../../.."

// TestLedger checks the files in docs/ledger: each hunk has an entry, each entry a hunk, no hunk is only formatting,
// and every pitfall, case, claim and test that an entry names exists.
func TestLedger(t *testing.T) {
	names, err := FindNames(repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range Pairs {
		bad, err := Check(repo, p, names)
		if err != nil {
			t.Error(err)
		}
		for _, s := range bad {
			t.Error(s)
		}
	}
}

func lines(s string) []string { return strings.Split(s, " ") }

func TestDiff(t *testing.T) {
	for _, tt := range []struct {
		name, old, now string
		want           []string // the lines of each hunk
	}{
		{"same", "a b", "a b", nil},
		{"change", "a b c", "a x c", []string{"-b +x"}},
		{"insert", "a c", "a b c", []string{"+b"}},
		{"remove", "a b c", "a c", []string{"-b"}},
		{"ends", "a b c", "x b y", []string{"-a +x", "-c +y"}},
		{"brace", "a } c", "x } y", []string{"-a +x  } -c +y"}},
		{"moved", "a b c d", "b c a d", []string{"-a", "+a"}},
		{"repeated", "a a b a a", "a b a", []string{"-a", "-a"}},
	} {
		var got []string
		for _, h := range Diff("f.go", lines(tt.old), lines(tt.now)) {
			got = append(got, strings.Join(h.Lines, " "))
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, d)
		}
	}
}

// TestDiffApplies checks that the hunks turn the old lines into the new ones, and that the numbers of their first
// lines are right.
func TestDiffApplies(t *testing.T) {
	for _, p := range [][2]string{
		{"a b c d e", "b x d } e f"},
		{"", "a b"},
		{"a b", ""},
		{"{ a { } b }", "{ b { } a }"},
		{"a } b } c", "x } b } y } z"},
		{"a  //x func", "a +  //y y  //x func"},
	} {
		checkApplies(t, lines(p[0]), lines(p[1]))
	}
	for _, p := range Pairs {
		old, err := files(repo, p.From)
		if err != nil {
			t.Fatal(err)
		}
		now, err := files(repo, p.To)
		if err != nil {
			t.Fatal(err)
		}
		for name := range now {
			checkApplies(t, old[name], now[name])
		}
	}
}

func checkApplies(t *testing.T, old, now []string) {
	t.Helper()
	var got []string
	at := 0
	for _, h := range Diff("f.go", old, now) {
		got = append(got, old[at:h.Old-1]...)
		if len(got) != h.New-1 {
			t.Errorf("hunk %q: begins at line %d of the new file, and says %d", h.Lines, len(got)+1, h.New)
		}
		at = h.Old - 1
		for _, line := range h.side('+') {
			if at >= len(old) || old[at] != line {
				t.Fatalf("hunk %q does not have line %d of the old file", h.Lines, at+1)
			}
			at++
		}
		got = append(got, h.side('-')...)
	}
	got = append(got, old[at:]...)
	if d := cmp.Diff(now, got); d != "" {
		t.Errorf("the hunks give something else (-want +got)\n%s", d)
	}
}

// TestMovedHunk checks that a hunk that moves keeps its entry, and that the file stays as it is.
func TestMovedHunk(t *testing.T) {
	before := Diff("f.go", lines("a b c"), lines("a x c"))
	after := Diff("f.go", lines("n n n a b c"), lines("n n n a x c"))
	page := &Page{Entries: []Entry{{Key: before[0].Key, Text: "why"}}}
	if entries, left := page.Match(after); entries[0] == nil || len(left) != 0 {
		t.Errorf("entries %v, left %v", entries, left)
	}
	if a, b := page.Render(Pairs[0], before), page.Render(Pairs[0], after); a != b {
		t.Errorf("the ledger changes from\n%s\nto\n%s", a, b)
	}
}

// TestRenderParse checks that a ledger survives being read and written, and that an entry whose hunk is gone is kept.
func TestRenderParse(t *testing.T) {
	hunks := Diff("f.go", lines("a b c"), lines("x b y"))
	page := &Page{Intro: "About it.", Entries: []Entry{
		{Key: "00000000", Title: "9. f.go: gone", Text: "old text"},
		{Key: hunks[1].Key, Text: "second\n\nNeeded by: test `TestX`."},
	}}
	text := page.Render(Pairs[0], hunks)
	for _, want := range []string{"# From stage 1 to stage 2\n\nAbout it.", Missing, "second\n\nNeeded by", "## Gone: 9. f.go: gone", "old text"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	again, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(text, again.Render(Pairs[0], hunks)); d != "" {
		t.Error(d)
	}
	if _, err := Parse("# x\n\n## an entry without its hunk\n\ntext\n"); err == nil {
		t.Error("an entry without a hunk marker is accepted")
	}
}

func TestProblems(t *testing.T) {
	names := Names{known: map[[2]string]bool{{"test", "TestX"}: true, {"pitfall", "p"}: true}}
	good := "It must.\n\nNeeded by: test `TestX`, pitfall `p`."
	for _, tt := range []struct {
		name, old, now, text string
		want                 string // a part of the message
	}{
		{"good", "a b", "a x", good, ""},
		{"no entry", "a b", "a x", "", `hunk "1. f.go: the file" (`},
		{"to do", "a b", "a x", Missing, "does not explain"},
		{"only needs", "a b", "a x", "Needed by: test `TestX`.", "does not explain"},
		{"no needs", "a b", "a x", "It must.", "Needed by"},
		{"unknown test", "a b", "a x", strings.Replace(good, "TestX", "TestY", 1), `test "TestY", which does not exist`},
		{"unknown pitfall", "a b", "a x", strings.Replace(good, "`p`", "`q`", 1), `pitfall "q", which does not exist`},
		{"comment", "a //b", "a //x", "Says more.", ""},
		{"indent", "a b", "a \tb", good, "only formatting"},
	} {
		hunks := Diff("f.go", lines(tt.old), lines(tt.now))
		page := &Page{}
		if tt.text != "" {
			page.Entries = []Entry{{Key: hunks[0].Key, Text: tt.text}}
		}
		got := strings.Join(problems(page, hunks, names), "\n")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	hunks := Diff("f.go", lines("a b"), lines("a x"))
	page := &Page{Entries: []Entry{{Key: hunks[0].Key, Text: good}, {Key: "00000000", Title: "2. f.go: f", Text: good}}}
	if got := strings.Join(problems(page, hunks, names), "\n"); !strings.Contains(got, `entry "2. f.go: f" (00000000) has no hunk`) {
		t.Error(got)
	}
	// A wrapped comment is only formatting, too.
	wrapped := Diff("f.go", []string{"// one two", "// three"}, []string{"// one", "// two three"})
	if got := strings.Join(problems(&Page{}, wrapped, names), "\n"); !strings.Contains(got, "only formatting") {
		t.Error(got)
	}
}

func TestScreen(t *testing.T) {
	hunks := Diff("f.go", lines("a b"), lines("a x"))
	page := &Page{Entries: []Entry{{Key: hunks[0].Key, Text: "Why `x`.\n\nNeeded by: test [`T`](x.md)."}}}
	for width, want := range map[int]string{
		80:  "From stage 1 to stage 2\n\n1. f.go: the file\n-b\n+x\n\nWhy x.\n\nNeeded by: test T.\n",
		142: "From stage 1 to stage 2\n\n1. f.go: the file\n-b" + strings.Repeat(" ", 82) + " │ Why x.\n+x" + strings.Repeat(" ", 82) + " │\n" + strings.Repeat(" ", 84) + " │ Needed by: test T.\n",
	} {
		var b strings.Builder
		(&screen{out: &b, width: width}).show(Pairs[0], page, hunks)
		if d := cmp.Diff(want, b.String()); d != "" {
			t.Errorf("%d columns (-want +got)\n%s", width, d)
		}
	}
}
