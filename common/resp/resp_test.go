package resp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// text returns values in a form for comparison.
func text(values []Value) string {
	var b strings.Builder
	for _, v := range values {
		switch {
		case v.Null:
			fmt.Fprintf(&b, "%c!", v.Kind)
		case v.Kind == Integer:
			fmt.Fprintf(&b, ":%d", v.Int)
		case v.Kind == Array:
			fmt.Fprintf(&b, "[%s]", text(v.Elems))
		default:
			fmt.Fprintf(&b, "%c%q", v.Kind, v.Text)
		}
	}
	return b.String()
}

// outcome parses pieces and describes the outcome.
func outcome(replies int, pieces ...string) string {
	var p Parser
	p.Reset(replies)
	done := false
	for _, piece := range pieces {
		b := []byte(piece)
		var err error
		if done, err = p.Parse(b); err != nil {
			return err.Error()
		}
		clear(b) // the parser must not keep or examine the bytes again
	}
	if !done {
		return "more"
	}
	return text(p.Values())
}

// long is a reply of exactly n bytes, for n from 100,013 to 999,999 plus 11.
func long(n int) string {
	n -= len("$123456\r\n\r\n")
	return fmt.Sprintf("$%d\r\n%s\r\n", n, strings.Repeat("x", n))
}

var replies = []struct {
	name string
	n    int
	in   string
	want string
}{
	{"simple", 1, "+OK\r\n", `+"OK"`},
	{"empty simple", 1, "+\r\n", `+""`},
	{"error", 1, "-LOADING data\r\n", `-"LOADING data"`},
	{"integer", 1, ":100\r\n", ":100"},
	{"negative", 1, ":-7\r\n", ":-7"},
	{"largest", 1, ":9223372036854775807\r\n", ":9223372036854775807"},
	{"bulk", 1, "$5\r\na\r\nb\x00\r\n", `$"a\r\nb\x00"`},
	{"empty bulk", 1, "$0\r\n\r\n", `$""`},
	{"null bulk", 1, "$-1\r\n", "$!"},
	{"array", 1, "*2\r\n$1\r\na\r\n$2\r\nbc\r\n", `[$"a"$"bc"]`},
	{"empty array", 1, "*0\r\n", "[]"},
	{"null array", 1, "*-1\r\n", "*!"},
	{"nested", 1, "*2\r\n*1\r\n:1\r\n*2\r\n+a\r\n*0\r\n", `[[:1][+"a"[]]]`},
	{"two", 2, ":1\r\n+OK\r\n", `:1+"OK"`},
	{"one of two", 2, ":1\r\n", "more"},
	{"nothing", 1, "", "more"},
	{"without LF", 1, "+OK\r", "more"},
	{"part of an array", 1, "*2\r\n:1\r\n", "more"},

	{"another protocol", 1, "HTTP/1.1 400\r\n", ErrKind.Error()},
	{"RESP3", 1, "%1\r\n", ErrKind.Error()},
	{"LF in a line", 1, "+O\nK\r\n", ErrLine.Error()},
	{"CR in a line", 1, "+O\rK\r\n", ErrLine.Error()},
	{"no digits", 1, ":\r\n", ErrNumber.Error()},
	{"only minus", 1, ":-\r\n", ErrNumber.Error()},
	{"two minus", 1, ":--1\r\n", ErrNumber.Error()},
	{"letters", 1, "$abc\r\n", ErrNumber.Error()},
	{"overflow", 1, ":9223372036854775808\r\n", ErrNumber.Error()},
	{"CR alone after a number", 1, ":1\rx", ErrLine.Error()},
	{"negative length", 1, "$-2\r\n", ErrLength.Error()},
	{"negative array", 1, "*-2\r\n", ErrLength.Error()},
	{"bulk too short", 1, "$1\r\nabc\r\n", ErrLine.Error()},
	{"bulk too long", 1, "$1048577\r\n", ErrLong.Error()},
	{"long array", 1, "*4097\r\n", ErrMany.Error()},
	{"many values", 1, "*2\r\n*4000\r\n" + strings.Repeat(":1\r\n", 4000) + "*4000\r\n" + strings.Repeat(":1\r\n", 4000), ErrMany.Error()},
	{"deep", 1, "*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "[[[[:1]]]]"},
	{"too deep", 1, strings.Repeat("*1\r\n", 5), ErrDepth.Error()},
	{"more than asked", 1, "+OK\r\n+OK\r\n", ErrExtra.Error()},
	{"a byte more", 1, "+OK\r\nx", ErrExtra.Error()},
}

// TestEverySplit checks that the outcome is the same for every way to split a reply in two, and
// byte by byte.
func TestEverySplit(t *testing.T) {
	for _, c := range replies {
		t.Run(c.name, func(t *testing.T) {
			if got := outcome(c.n, c.in); got != c.want {
				t.Fatalf("whole: %s, want %s", got, c.want)
			}
			if got := outcome(c.n, strings.Split(c.in, "")...); got != c.want {
				t.Errorf("byte by byte: %s, want %s", got, c.want)
			}
			for i := 0; i <= len(c.in) && len(c.in) < 1000; i++ {
				if got := outcome(c.n, c.in[:i], c.in[i:]); got != c.want {
					t.Errorf("split at %d: %s, want %s", i, got, c.want)
				}
			}
		})
	}
}

// TestOneMebibyte checks the bound on all replies together.
func TestOneMebibyte(t *testing.T) {
	first := long(500_000)
	for _, c := range []struct {
		rest int
		want string
	}{{maxBytes - 500_000, ""}, {maxBytes - 500_000 + 1, ErrLong.Error()}} {
		all := first + long(c.rest)
		if len(all) != 500_000+c.rest {
			t.Fatal(len(all))
		}
		for _, at := range []int{0, 1, 500_000, len(all) - 2, len(all) - 1} {
			if got := outcome(2, all[:at], all[at:]); c.want != "" && got != c.want || c.want == "" && len(got) < maxBytes-100 {
				t.Errorf("%d bytes, split at %d: %.60s, want %s", len(all), at, got, c.want)
			}
		}
	}
}

// TestErrorStays checks that a parser that has failed fails again.
func TestErrorStays(t *testing.T) {
	var p Parser
	p.Reset(1)
	_, first := p.Parse([]byte("?"))
	if _, again := p.Parse([]byte("+OK\r\n")); first != ErrKind || !errors.Is(again, first) {
		t.Errorf("%v, then %v", first, again)
	}
}

func TestAppendCommand(t *testing.T) {
	const want = "*3\r\n$5\r\nRPUSH\r\n$5\r\nnotes\r\n$3\r\n\xc3\xa4!\r\n"
	if got := AppendCommand(nil, "RPUSH", "notes", "ä!"); string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzParse checks that the outcome does not depend on how the bytes are split.
func FuzzParse(f *testing.F) {
	for i, c := range replies {
		if len(c.in) < 200 {
			f.Add(c.n, c.in, i)
		}
	}
	f.Fuzz(func(t *testing.T, n int, in string, at int) {
		if n < 1 || n > 4 || len(in) == 0 {
			return
		}
		want := outcome(n, in)
		at = int(uint(at) % uint(len(in)))
		if got := outcome(n, in[:at], in[at:]); got != want {
			t.Errorf("split at %d: %s, want %s", at, got, want)
		}
		if got := outcome(n, strings.Split(in, "")...); len(in) == len([]rune(in)) && got != want {
			t.Errorf("byte by byte: %s, want %s", got, want)
		}
	})
}
